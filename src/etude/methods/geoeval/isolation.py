"""A Linux process gives up, for good, the network, other processes, and all files but Python's own libraries.

Run as a program it does so and then runs another: `python -I -B isolation.py PROGRAM MEMORY_BYTES
CPU_SECONDS`. It imports the standard library only, since it runs before anything else in a fresh interpreter.

Three mechanisms of the kernel, none of which the process can undo: Landlock (which files can be opened; no
TCP; no signals to others), a seccomp filter (no sockets, no new processes, no changes to files' attributes),
and resource limits (memory, processor time, size of files).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
import sysconfig
from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on both architectures
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_EPERM, _ALLOW, _KILL, _ERRNO = 1, 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000

_ARCHITECTURES: dict[str, tuple[int, str]] = {
    "x86_64": (
        0xC000003E,
        "29 30 31 41 42 43 44 46 49 50 53 56 57 58 59 62 64 66 68 69 71 82 83 86 88 90 91 92 93 94 101 103 "
        "129 132 133 155 160 161 163 164 165 166 167 168 169 170 171 172 173 175 176 179 188 189 190 197 "
        "198 199 200 227 234 235 240 246 248 249 250 259 260 261 265 266 268 272 280 288 297 298 302 304 "
        "305 307 308 310 311 313 320 321 322 323 424 425 428 429 430 431 432 433 434 435 438 440 442 452 "
        "463 466",
    ),
    "aarch64": (
        0xC00000B7,
        "5 6 7 14 15 16 33 34 36 37 38 39 40 41 51 52 53 54 55 58 60 88 89 97 104 105 106 112 116 117 129 "
        "130 131 138 142 161 162 164 170 171 180 186 187 190 194 195 196 198 199 200 201 202 203 206 211 "
        "217 218 219 220 221 224 225 240 241 242 261 265 266 268 269 270 271 273 280 281 282 294 424 425 "
        "428 429 430 431 432 433 434 435 438 440 442 452 463 466",
    ),
}
"""Machine to its audit number and the system calls refused: shared memory and message queues, sockets, new
processes, signals, tracing, changes to files and their attributes, mounts and namespaces, limits and clocks,
kernel modules and keys, asynchronous rings, and what else reaches out of the process."""


class Unavailable(OSError):
    """This machine cannot isolate a process."""


def restrict(memory: int, seconds: int, readable: Iterable[str] = ()) -> None:
    """Restrict this process from now on; whatever it already opened stays open.

    Args:
        memory: The most bytes of address space.
        seconds: The most seconds of processor time.
        readable: Files and folders it may read besides Python's libraries and the system's shared ones.

    Raises:
        Unavailable: Not Linux on x86-64 or ARM64, or a kernel without Landlock or seccomp. Nothing to rely on
            then.
    """
    if sys.platform != "linux" or platform.machine() not in _ARCHITECTURES:
        raise Unavailable(f"no isolation on {sys.platform} {platform.machine()}")
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(limit, (value, value))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise Unavailable("privileges cannot be given up")
    _landlock(libc, [*_library_paths(), *readable])
    _seccomp(libc)


def _library_paths() -> list[str]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_path(name) for name in names]
    paths += [os.path.join(sys.base_prefix, "lib"), "/usr/lib", "/lib", "/lib64", "/usr/local/lib"]
    return [*paths, "/etc/ld.so.cache", "/dev/urandom", "/dev/null"]


def _landlock(libc: ctypes.CDLL, readable: Iterable[str]) -> None:
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        raise Unavailable("the kernel has no Landlock (Linux 5.13 has)")
    files = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    attributes = struct.pack("=QQQ", files, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if rules < 0:
        raise Unavailable("Landlock refuses the rules")
    for path in {os.path.realpath(path) for path in readable}:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # this system does not have that folder
        allowed = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
        rule = struct.pack("=Qi", allowed, opened)
        added = libc.syscall(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint32(0))
        os.close(opened)
        if added:
            raise Unavailable(f"Landlock refuses a rule for {path}")
    if libc.syscall(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0)):
        raise Unavailable("Landlock cannot be switched on")
    os.close(rules)


def _seccomp(libc: ctypes.CDLL) -> None:
    number, refused = _ARCHITECTURES[platform.machine()]
    calls = [int(call) for call in refused.split()]

    def statement(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    program = [
        statement(load, 4),
        statement(equal, number, 1, 0),
        statement(give, _KILL),
        statement(load, 0),
        statement(at_least, _X32, len(calls) + 1, 0),
        *(statement(equal, call, len(calls) - i, 0) for i, call in enumerate(calls)),
        statement(give, _ALLOW),
        statement(give, _ERRNO | _EPERM),
    ]
    code = ctypes.create_string_buffer(b"".join(program))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    if libc.prctl(_SET_SECCOMP, _FILTER, header, 0, 0):
        raise Unavailable("the kernel has no seccomp filters")


def main(arguments: list[str]) -> None:
    """Read a program, restrict this process, run the program."""
    path, memory, seconds = arguments
    with open(path, encoding="utf-8") as handle:
        source = handle.read()
    try:
        restrict(int(memory), int(seconds))
    except Unavailable as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    code = compile(source, "program", "exec")
    exec(code, {"__name__": "__main__"})  # the one place where a model's program runs, with nothing in reach


if __name__ == "__main__":
    main(sys.argv[1:])

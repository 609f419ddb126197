"""Programs of models run where they can reach nothing; every attempt to get out fails."""

import os
import sys
import textwrap

import pytest

from etude.errors import EtudeError
from etude.methods.geoeval import run_program
from etude.methods.geoeval.sandbox import find_program


@pytest.fixture(autouse=True, scope="module")
def _isolation():
    try:
        run_program("print(1)")
    except EtudeError as error:
        pytest.skip(error.problem)


def test_a_program_computes_with_sympy_and_its_last_line_is_the_answer():
    done = run_program("import sympy\nprint('working')\nprint(sympy.sqrt(50))", seconds=60)
    assert (done.status, done.answer) == ("done", "5*sqrt(2)")


ESCAPES = {
    "read a file": "open('/etc/passwd').read()",
    "read the parent's environment": "import os; open(f'/proc/{os.getppid()}/environ').read()",
    "list a home folder": "import os; os.listdir(os.path.expanduser('~root'))",
    "write in its folder": "open('x.txt', 'w').write('a')",
    "write elsewhere": "open({target!r}, 'w').write('a')",
    "append to a file": "open({secret!r}, 'a').write('a')",
    "truncate a file": "import os; os.truncate({secret!r}, 0)",
    "delete a file": "import os; os.unlink({secret!r})",
    "rename a file": "import os; os.rename({secret!r}, {target!r})",
    "change a file's mode": "import os; os.chmod({secret!r}, 0o777)",
    "change a file's times": "import os; os.utime({secret!r}, (0, 0))",
    "make a folder": "import os; os.mkdir({target!r})",
    "link to a file": "import os; os.symlink({secret!r}, 'l')",
    "open a connection": "import socket; socket.create_connection(('127.0.0.1', 9))",
    "send a datagram": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "talk to a local socket": "import socket; socket.socket(socket.AF_UNIX).connect('/run/x')",
    "resolve a name": "import socket; socket.getaddrinfo('localhost', 80, type=socket.SOCK_STREAM)[99]",
    "start a process": "import subprocess; subprocess.run(['/bin/true'])",
    "start a shell": "import os; assert os.system('true') == 0",
    "fork": "import os; os.fork()",
    "become another program": "import os; os.execv({python!r}, [{python!r}])",
    "kill its parent": "import os; os.kill(os.getppid(), 9)",
    "trace its parent": (
        "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); assert c.ptrace(16, os.getppid(), 0, 0) "
        "== 0"
    ),
    "raise its limits": (
        "import ctypes; c = ctypes.CDLL(None); b = (ctypes.c_ulong * 2)(2**60, 2**60);"
        "assert c.prlimit(0, 9, b, None) == 0"
    ),
    "leave its namespace": "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "mount": "import ctypes; assert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
    "change its root": "import os; os.chroot('/tmp')",
    "call the kernel by another interface": (
        "import ctypes; assert ctypes.CDLL(None).syscall(0x40000000 + 41, 2, 1, 0) >= 0"
    ),
    "open a ring": "import ctypes; assert ctypes.CDLL(None).syscall(425, 8, bytes(256)) >= 0",
}


@pytest.mark.parametrize("attempt", ESCAPES)
def test_an_attempt_to_get_out_fails(attempt, tmp_path):
    secret, target = tmp_path / "secret.txt", tmp_path / "target"
    secret.write_text("secret")
    before = os.stat(secret)
    program = ESCAPES[attempt]
    for name, value in (("secret", str(secret)), ("target", str(target)), ("python", sys.executable)):
        program = program.replace(f"{{{name}!r}}", repr(value))
    done = run_program(program + "\nprint('escaped')", seconds=60)
    assert done.status == "failed"
    assert "escaped" not in done.output
    assert "SyntaxError" not in done.error and "NameError" not in done.error
    assert secret.read_text() == "secret" and not target.exists()
    assert os.stat(secret).st_mode == before.st_mode and os.stat(secret).st_mtime == before.st_mtime


def test_a_program_sees_none_of_the_users_variables(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    done = run_program("import os\nprint(sorted(os.environ.values()))", seconds=60)
    assert done.status == "done" and "sk-secret" not in done.output


def test_an_endless_program_is_ended():
    assert run_program("while True:\n    pass", seconds=0.5).status == "timeout"
    assert run_program("import time\ntime.sleep(100)", seconds=0.5).status == "timeout"


def test_a_program_that_wants_too_much_memory_gets_none():
    assert run_program("x = 'a' * 10**10", seconds=60).status == "memory"


def test_a_program_that_prints_without_end_is_ended():
    done = run_program("while True:\n    print('x' * 1000)", seconds=60)
    assert done.status == "output" and len(done.output) <= 64 * 1024


def test_a_program_that_fails_says_why_and_has_no_answer():
    done = run_program("print(7)\n1/0", seconds=60)
    assert (done.status, done.answer) == ("failed", "")
    assert done.error == "ZeroDivisionError: division by zero"


def test_the_answer_of_a_program_that_was_ended_is_none():
    assert run_program("print(7, flush=True)\nwhile True: pass", seconds=0.7).answer == ""


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("Here:\n```python\nprint(1)\n```\nDone.", "print(1)\n"),
        ("```python\nprint(1)\n```\nBetter:\n```py\nprint(2)\n```", "print(2)\n"),
        ("```\nprint(3)\n", "print(3)\n"),
        ("import math\nprint(math.pi)", "import math\nprint(math.pi)"),
        ("The answer is 7.", None),
    ],
)
def test_the_program_of_a_response_is_found(response, program):
    assert find_program(response) == program


def test_without_isolation_nothing_is_run(monkeypatch, tmp_path):
    from etude.methods.geoeval import sandbox

    broken = tmp_path / "isolation.py"
    broken.write_text(
        textwrap.dedent("""
        import sys
        print("the kernel has no Landlock", file=sys.stderr)
        sys.exit(77)
    """)
    )
    monkeypatch.setattr(sandbox, "__file__", str(tmp_path / "sandbox.py"))
    with pytest.raises(EtudeError, match="no Landlock"):
        run_program("print(1)", seconds=60)

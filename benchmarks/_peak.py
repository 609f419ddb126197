"""Peak memory of this process alone; `ru_maxrss` also counts what its parent held before it began."""


def peak_mb() -> float:
    """Highest resident memory so far, in MB (Linux)."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024

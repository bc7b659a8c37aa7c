"""What a computation costs this process."""

import sys

import psutil


def peak_memory() -> float:
    """The most memory that this process has held so far, in MiB; that of a GPU does not count."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource  # which Windows lacks

    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20

"""What a computation costs this process."""

import re
import sys
from pathlib import Path

import psutil


def peak_memory() -> float:
    """The most memory that this process has held so far, in MiB; that of a GPU does not count."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    if peak := re.search(r"VmHWM:\s*(\d+) kB", linux_status()):
        return int(peak[1]) / 2**10
    import resource  # Windows has none; on Linux it counts what the parent process held, too

    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def linux_status() -> str:
    """What Linux says of this process; nothing on other systems."""
    file = Path("/proc/self/status")
    return file.read_text() if file.exists() else ""

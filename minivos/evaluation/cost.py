"""What a computation costs: memory, and time that a GPU takes part in."""

import re
import sys
from pathlib import Path

import psutil
import torch


def wait_for(device: torch.device) -> None:
    """Until a GPU has done all that it was given; a CPU has already."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_memory(device: torch.device | None = None) -> float:
    """The most memory held so far, in MiB: of a CUDA device by tensors, else by this process."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
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

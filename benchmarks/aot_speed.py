"""Seconds per frame of the AOT variants, where they go, and what the fast forms of attention save.

    python benchmarks/aot_speed.py                                    # every variant, 480x854
    python benchmarks/aot_speed.py aot_t --objects 1 3 10             # what objects cost
    python benchmarks/aot_speed.py aot_l --device cuda --autocast bfloat16 --compile

A frame is timed from pixels at the network's size to masks at the video's size and back into memory; reading and
resizing pictures and the given frame are not. Weights are random: they do not change the time. The L variants hold five
frames in memory, the others one. Each row is measured in a process of its own, and its peak memory is that of the whole
process. "explicit" is the same network with every attention written out, as it runs while attention is recorded.
"""

import argparse
import contextlib
import multiprocessing
import resource
import time
from collections import defaultdict
from statistics import median

import torch
from torch import nn

from minivos import create_model, list_models
from minivos.aot import AOT, FeedForward, LongTermAttention, SelfAttention, ShortTermAttention
from minivos.nn.attention import explicit_attention
from minivos.nn.network import Memory, Schedule
from minivos.video.masks import one_hot, resize
from minivos.video.synthetic import render

WARM_UP, TIMED, LONG_MEMORY = 2, 7, 5
PARTS = ("encode", "self", "long", "short", "feed", "decode", "memorize")
KINDS = {SelfAttention: "self", LongTermAttention: "long", ShortTermAttention: "short", FeedForward: "feed"}


class Stopwatch:
    """Adds up the seconds spent in the parts of a network, frame by frame."""

    def __init__(self, network: AOT, device: str) -> None:
        self.device, self.spent, self.began = device, defaultdict(float), {}
        for module in network.modules():
            if type(module) in KINDS:
                self.watch(module, KINDS[type(module)])
        self.watch(network.encoder, "encode")
        self.watch(network.project, "encode")
        self.watch(network.decoder, "decode")

    def watch(self, module: nn.Module, part: str) -> None:
        """Count the module's forward towards a part."""
        module.register_forward_pre_hook(lambda *_: self.start(part))
        module.register_forward_hook(lambda *_: self.stop(part))

    def now(self) -> float:
        """Seconds, with nothing left to do on the GPU."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def start(self, part: str) -> None:
        """Begin to count towards a part."""
        self.began[part] = self.now()

    def stop(self, part: str) -> None:
        """Add what has passed since `start`."""
        self.spent[part] += self.now() - self.began[part]


@torch.inference_mode()
def measure(row: dict) -> dict[str, float]:
    """Median seconds per frame and per part, and peak memory in MiB, of one row of the table."""
    device, (height, width) = row["device"], row["size"]
    torch.manual_seed(0)
    network = create_model(row["variant"]).to(device)
    watch = None if row["compile"] else Stopwatch(network, device)
    read = torch.compile(network.read) if row["compile"] else network.read
    encode = torch.compile(network.encode) if row["compile"] else network.encode
    frozen_after = LONG_MEMORY - 1 if network.schedule.every else 0  # frames that join the given one in memory
    warm_up = max(WARM_UP, frozen_after)
    size = network.sizing((height, width))
    clip = render(0, frames=1 + warm_up + TIMED, size=size, objects=row["objects"])
    frames = torch.from_numpy(clip.frames).to(device).movedim(-1, 1).float() / 255  # (T, 3, H, W)
    labels = torch.from_numpy(clip.masks[:1]).long().to(device)
    memory = Memory(Schedule(every=1 if frozen_after else 0, at_most=LONG_MEMORY))
    memory.add(network.memorize(network.encode(frames[:1]), one_hot(labels, row["objects"])), 0, reference=True)

    seconds, parts = [], defaultdict(list)
    forms = explicit_attention() if row["explicit"] else contextlib.nullcontext()
    kind = torch.device(device).type
    dtype = getattr(torch, row["autocast"] or "bfloat16")
    with forms, torch.autocast(kind, dtype, enabled=bool(row["autocast"])):
        for t in range(1, len(frames)):
            if t == frozen_after + 1:
                memory.schedule = Schedule(at_most=LONG_MEMORY)  # keep what is there
            if device == "cuda":
                torch.cuda.synchronize()
            began = time.perf_counter()
            logits, seen = read(encode(frames[t : t + 1]), memory)
            found = resize(logits.float(), (height, width), network.sizing.align_corners).max(1).indices
            if watch:
                watch.start("memorize")
            entry = network.memorize(seen, one_hot(resize(found, size), row["objects"]))
            memory.add(entry, t)
            if watch:
                watch.stop("memorize")
            found.cpu()
            seconds.append(time.perf_counter() - began)
            for part in PARTS if watch else ():
                parts[part].append(watch.spent[part])
            if watch:
                watch.spent.clear()
    assert len(memory.kept) == (LONG_MEMORY if frozen_after else 1)
    result = {part: median(parts[part][warm_up:]) for part in parts} | {"total": median(seconds[warm_up:])}
    if device == "cuda":
        return result | {"MiB": torch.cuda.max_memory_allocated() / 2**20}
    return result | {"MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Print the table."""
    known = [name for name in list_models() if "aot" in name and name != "aot_mini"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", default=known, help=", ".join(known))
    parser.add_argument("--objects", type=int, nargs="+", default=[3])
    parser.add_argument("--size", type=int, nargs=2, default=[480, 854], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--autocast", choices=["bfloat16", "float16"])
    parser.add_argument("--compile", action="store_true", help="torch.compile; gives no parts")
    parser.add_argument("--no-explicit", action="store_true", help="leave the explicit forms out")
    settings = parser.parse_args()

    context = multiprocessing.get_context("spawn")
    height, width = settings.size
    print(
        f"{width}x{height}, {torch.get_num_threads()} CPU threads, {settings.device}, {settings.autocast or 'float32'}"
    )
    print(f"{'variant':12} {'objects':>7} {'form':>8} {'s/frame':>8} {'MiB':>6}  " + " ".join(f"{p:>8}" for p in PARTS))
    for variant in settings.variants:
        for objects in settings.objects:
            for explicit in (False,) if settings.no_explicit else (False, True):
                row = {"variant": variant, "objects": objects, "explicit": explicit, "size": (height, width)}
                row |= {"device": settings.device, "autocast": settings.autocast, "compile": settings.compile}
                with context.Pool(1) as pool:
                    result = pool.apply(measure, (row,))
                form = "explicit" if explicit else "fast"
                spent = " ".join(f"{result[part]:8.3f}" if part in result else f"{'-':>8}" for part in PARTS)
                print(
                    f"{variant:12} {objects:7} {form:>8} {result['total']:8.3f} {result['MiB']:6.0f}  {spent}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

"""Seconds per frame of the AOT variants, where they go, and what the fast forms of attention save.

    python benchmarks/aot_speed.py                                    # every variant, 480x854
    python benchmarks/aot_speed.py aot_t --objects 1 3 10             # what objects cost
    python benchmarks/aot_speed.py aot_l --device cuda --autocast bfloat16 --compile

A frame is timed from pixels at the network's size to masks at the video's size and back into memory; reading and
resizing pictures and the given frame are not. Weights are random: they do not change the time. The L variants hold five
frames in memory, the others one. Each variant and form is measured in a process of its own, frame by frame in turn for
each number of objects; "times" is over the first number, and the peak memory is that of the whole process. "explicit"
is the same network with every attention written out, as it runs while attention is recorded. To time the parts on a GPU
it is waited for after each, which makes totals a little long; with --compile only memorize is timed apart.
"""

import argparse
import contextlib
import multiprocessing
import time
from collections import defaultdict
from statistics import median

import torch
from torch import Tensor, nn

from minivos import create_model, list_models
from minivos.aot import AOT, FeedForward, LongTermAttention, SelfAttention, ShortTermAttention
from minivos.evaluation.cost import peak_memory
from minivos.models import has_weights
from minivos.nn.memory import Memory, Schedule
from minivos.nn.recording import explicit_attention
from minivos.synthetic.clips import render
from minivos.video.mask_tensors import one_hot, resize

WARM_UP, TIMED, LONG_MEMORY = 2, 7, 5
PARTS = ("encode", "self", "long", "short", "feed", "decode", "memorize")
KINDS = {SelfAttention: "self", LongTermAttention: "long", ShortTermAttention: "short", FeedForward: "feed"}


class Stopwatch:
    """Adds up the seconds spent in the parts of a network, frame by frame."""

    def __init__(self, device: str) -> None:
        self.device, self.spent, self.began = device, defaultdict(float), {}

    def watch_parts(self, network: AOT) -> None:
        """Count the forward passes of the network's parts."""
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


class Follower:
    """A network that follows so many objects through frames; it notes the seconds of each frame and of its parts.

    The memory fills with a frame after each step up to `kept` frames, and then stays as it is.
    """

    def __init__(self, network: AOT, objects: int, first: Tensor, labels: Tensor, kept: int) -> None:
        self.network, self.objects = network, objects
        self.memory = Memory(Schedule(every=1 if kept > 1 else 0, at_most=kept))
        self.seconds, self.parts = [], defaultdict(list)
        masks = one_hot(labels.where(labels <= objects, 0), objects)
        self.memory.add(network.memorize(network.encode(first), masks), 0, reference=True)
        self.kept = kept

    def step(self, frame: Tensor, t: int, video_size: tuple[int, int], watch: Stopwatch) -> None:
        """Read one frame (1, 3, H, W), already at the network's size, and put it into memory."""
        if t == self.kept:
            self.memory.schedule = Schedule(at_most=self.kept)  # it is full: keep what is there
        network, began = self.network, watch.now()
        logits, seen = network.read(network.encode(frame), self.memory)
        labels = resize(logits.float(), video_size, network.sizing.align_corners).max(1).indices
        watch.start("memorize")
        self.memory.add(network.memorize(seen, one_hot(resize(labels, frame.shape[-2:]), self.objects)), t)
        watch.stop("memorize")
        self.seconds.append(watch.now() - began)
        for part, spent in watch.spent.items():
            self.parts[part].append(spent)
        watch.spent.clear()


@torch.inference_mode()
def measure(row: dict) -> dict[int, dict[str, float]]:
    """For each number of objects the median seconds per frame and per part, and peak memory in MiB."""
    device, video_size = row["device"], row["size"]
    torch.manual_seed(0)
    network = create_model(row["variant"]).to(device)
    kept = LONG_MEMORY if network.schedule.every else 1
    warm_up = max(WARM_UP, kept - 1)
    size = network.sizing(video_size)
    clip = render(0, frames=1 + warm_up + TIMED, size=size, objects=max(row["objects"]))
    frames = torch.from_numpy(clip.frames).to(device).movedim(-1, 1).float() / 255  # (T, 3, H, W)
    labels = torch.from_numpy(clip.masks[:1]).long().to(device)
    watch = Stopwatch(device)
    if row["compile"]:
        network.encode, network.read = torch.compile(network.encode), torch.compile(network.read)
    else:
        watch.watch_parts(network)

    followers = [Follower(network, objects, frames[:1], labels, kept) for objects in row["objects"]]
    forms = explicit_attention() if row["explicit"] else contextlib.nullcontext()
    dtype = getattr(torch, row["autocast"] or "bfloat16")
    with forms, torch.autocast(torch.device(device).type, dtype, enabled=bool(row["autocast"])):
        for t in range(1, len(frames)):
            for follower in followers:  # in turn, so that what disturbs the machine disturbs all alike
                follower.step(frames[t : t + 1], t, video_size, watch)
    assert all(len(follower.memory.kept) == kept for follower in followers)
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak_memory()
    return {
        follower.objects: {part: median(spent[warm_up:]) for part, spent in follower.parts.items()}
        | {"total": median(follower.seconds[warm_up:]), "MiB": peak}
        for follower in followers
    }


def main() -> None:
    """Print the table."""
    known = [name for name in list_models() if "aot" in name and not has_weights(name)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", default=known, help=", ".join(known))
    parser.add_argument("--objects", type=int, nargs="+", default=[3])
    parser.add_argument("--size", type=int, nargs=2, default=[480, 854], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--autocast", choices=["bfloat16", "float16"])
    parser.add_argument("--compile", action="store_true", help="torch.compile; of the parts gives memorize only")
    parser.add_argument("--no-explicit", action="store_true", help="leave the explicit forms out")
    settings = parser.parse_args()

    context = multiprocessing.get_context("spawn")
    height, width = settings.size
    print(
        f"{width}x{height}, {torch.get_num_threads()} CPU threads, {settings.device}, {settings.autocast or 'float32'}"
    )
    print(
        f"{'variant':12} {'objects':>7} {'form':>8} {'s/frame':>8} {'times':>6} {'MiB':>6}  "
        + " ".join(f"{part:>8}" for part in PARTS)
    )
    for variant in settings.variants:
        for explicit in (False,) if settings.no_explicit else (False, True):
            row = {"variant": variant, "objects": settings.objects, "explicit": explicit, "size": (height, width)}
            row |= {"device": settings.device, "autocast": settings.autocast, "compile": settings.compile}
            with context.Pool(1) as pool:
                results = pool.apply(measure, (row,))
            form, least = "explicit" if explicit else "fast", results[settings.objects[0]]["total"]
            for objects, result in results.items():
                spent = " ".join(f"{result[part]:8.3f}" if part in result else f"{'-':>8}" for part in PARTS)
                times = f"{result['total']:8.3f} {result['total'] / least:6.2f}"
                print(f"{variant:12} {objects:7} {form:>8} {times} {result['MiB']:6.0f}  {spent}", flush=True)


if __name__ == "__main__":
    main()

"""What our AOT networks give where the released ones gave the reference numbers."""

from collections.abc import Callable
from contextlib import contextmanager, nullcontext

import torch
from einops import rearrange
from torch import Tensor

from minivos.aot import AOT, AOTEntry, Seen
from minivos.nn.attention import sine_position
from minivos.nn.memory import Memory, Schedule
from minivos.nn.recording import AttentionMap, record_attention
from minivos.video.mask_tensors import one_hot, resize
from reference_weights import disks_and_boxes, sliding_frames

OBJECTS = 3
KINDS = ("self", "long_term", "short_term")
CASES = {"video": (0, 4), "every1": (1, 4), "every2": (2, 6), "every5": (5, 6)}  # frames between kept ones, frames
Feedback = Callable[[str, Tensor], Tensor]  # (name, logits at video size) -> label map (H, W) that goes into the memory


class ReleasedRun:
    """A clip of seeded frames, followed under one schedule after another; `found` collects the numbers by name.

    Names are those of the reference numbers: "lstt/frame1" is the reference frame, elsewhere it has number 0. All is
    computed in the precision of the network.
    """

    def __init__(self, network: AOT, seed: int, frames: int, video: tuple[int, int], size: tuple[int, int]) -> None:
        self.network, self.video, self.size = network, video, size
        pictures = sliding_frames(seed, frames, *size).to(network.mean.dtype)
        pictures = pictures * network.std + network.mean  # encode normalises again
        self.seen = [network.encode(picture[None]) for picture in pictures]
        self.first_masks = self.masks(torch.from_numpy(disks_and_boxes(*video, OBJECTS)))
        self.found: dict[str, Tensor] = {}
        self.kept: dict[str, list[int]] = {}  # how many frames are kept after each step
        self.fed: dict[str, Tensor] = {}  # label maps that went into the memory

    def masks(self, labels: Tensor) -> Tensor:
        """A label map of the video -> masks at the size of the network."""
        return one_hot(resize(labels[None].long(), self.size), OBJECTS).to(self.network.mean.dtype)

    def of_the_first_frame(self) -> None:
        """Encoder, identity and position embedding, and the reference frame decoded from its own memory."""
        network, seen = self.network, self.seen[0]
        scales = ("4x", "8x", "16x")
        self.found |= {f"encoder/{scale}": x for scale, x in zip(scales, seen.features, strict=False)}
        self.found |= {
            "encoder/16x_before_projection": seen.features[-1],
            "encoder/16x_projected": as_map(seen.tokens, seen),
        }
        assignment = network.identity_bank.assign(1, OBJECTS, shuffle=False, device=seen.tokens.device)
        identity = network.identity_bank(self.first_masks, assignment)
        self.found["id_emb"] = as_map(identity, seen)
        self.found["pos_emb"] = as_map(sine_position(seen.grid, network.config.width), seen)
        outputs, _ = network.lstt(seen.tokens, seen.grid, None, identity)
        maps = [as_map(tokens, seen) for tokens in (seen.tokens, *outputs)]
        logits = network.decoder(torch.cat(maps, dim=1), seen.features[:3])
        self.found["reference_logits_4x"] = logits[:, : 1 + OBJECTS]

    def follow(self, case: str, feedback: Feedback, record: bool = False) -> None:
        """Read and memorize the frames of one case; with `record`, keep the attention weights of the first two."""
        every, frames = CASES[case]
        memory = Memory(Schedule(every=every, at_most=100))
        with watch(self.network, record and case == "video") as (outputs, maps):
            entry = self.network.memorize(self.seen[0], self.first_masks)
        memory.add(entry, 0, reference=True)
        self.kept[case] = [len(memory.kept)]
        if case == "video":
            self._of_the_transformer("lstt/frame1", outputs, entry, maps)
        for t in range(1, frames + 1):
            inside = case == "video" and t == 1
            with watch(self.network, record and inside) as (outputs, maps):
                logits, seen = self.network.read(self.seen[t], memory)
            full = resize(logits, self.video, self.network.config.align_corners)
            labels = self.fed[f"{case}/label{t}"] = feedback(f"{case}/label{t}", full)
            entry = self.network.memorize(seen, self.masks(labels))
            memory.add(entry, t)
            self.kept[case].append(len(memory.kept))
            self.found[f"{case}/logits{t}"] = full
            if case == "video":
                self.found[f"video/logits4x_{t}"] = logits
            if inside:
                self._of_the_transformer("lstt/frame2", outputs, entry, maps)

    def _of_the_transformer(
        self, name: str, outputs: dict[str, Tensor], entry: AOTEntry, maps: list[AttentionMap]
    ) -> None:
        seen = self.seen[0]
        self.found |= {f"{name}/{key}": as_map(tokens, seen) for key, tokens in outputs.items()}
        for i, block in enumerate(entry.blocks):
            self.found[f"{name}/memory_key{i}"] = as_map(block.keys, seen)
            self.found[f"{name}/memory_value{i}"] = as_map(block.values, seen)
        for found in maps:
            block, kind = found.name.split("/")
            self.found[f"{name}/layer{int(block.removeprefix('block')) - 1}/{kind}_attn/weights"] = found.weights


def as_map(tokens: Tensor, seen: Seen) -> Tensor:
    """(B, N, C) -> (B, C, h, w)."""
    return rearrange(tokens, "b (y x) c -> b c y x", y=seen.grid[0])


@contextmanager
def watch(network: AOT, record: bool):
    """Collect what leaves every attention and every block of the transformer, as tokens (B, N, C) by name; and maps."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda module, inputs, output: outputs.__setitem__(name, output)

    hooks = []
    for i, (block, norm) in enumerate(zip(network.lstt.blocks, network.lstt.norms, strict=True)):
        hooks.append(norm.register_forward_hook(keep(f"out{i}")))
        for kind, module in zip(KINDS, (block.self_attention, block.long_term, block.short_term), strict=True):
            hooks.append(module.register_forward_hook(keep(f"layer{i}/{kind}_attn/out")))
    try:
        with record_attention() if record else nullcontext([]) as maps:
            yield outputs, maps
    finally:
        for hook in hooks:
            hook.remove()

"""Following objects as the released engine does: `Tracker` against a plain loop over the network's own parts."""

from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from minivos.aot import AOT, KeysValues, Past
from minivos.models import create_model
from minivos.nn.memory import Schedule
from minivos.nn.network import Sizing
from minivos.nn.objects import merge_groups
from minivos.tracker import Tracker
from tiny import squares, tiny_aot

IDENTITIES = 4  # of the small networks here; more objects than these need a second engine


def network(align_corners: bool, every: int = 0) -> AOT:
    return tiny_aot(
        align_corners=align_corners, every=every, identities=IDENTITIES, short_side=None, longest=96, seed=3
    )


# The engine: one per so many objects, it knows label maps at the size of the network and numbers its objects 1..M


class Engine:
    """Long-term and short-term memory of the keys and values of each block, and the step of the last kept frame."""

    def __init__(self, model: AOT, every: int) -> None:
        self.model, self.every = model, every
        self.objects = 0
        self.kept_at = 0
        self.long: list[list[tuple[Tensor, Tensor]]] = [[] for _ in model.lstt.blocks]  # newest first
        self.short: list[tuple[Tensor, Tensor]] = []
        self.traces = []

    def identity(self, labels: Tensor) -> Tensor:
        channels = [(labels == k).float() for k in range(1 + IDENTITIES)]  # background has an identity too
        return self.model.identity_bank.embed(torch.stack(channels)[None]).flatten(2).mT

    def reference(self, tokens: Tensor, grid: tuple[int, int], labels: Tensor, objects: int, step: int) -> None:
        """A second pass through the transformer in which the frame reads itself; always kept."""
        self.objects, self.kept_at = objects, step
        identity = self.identity(labels)
        _, self.traces = self.model.lstt(tokens, grid, None, identity)
        self.short = self.keys_and_values(identity)
        self.keep()

    def predict(self, tokens: Tensor, grid: tuple[int, int], features: list[Tensor]) -> Tensor:
        """Logits of all identities at the finest scale; those that nobody has are switched off."""
        pasts = []
        for long, short in zip(self.long, self.short, strict=True):
            keys, values = (torch.cat(part, dim=1) for part in zip(*long, strict=True))
            kept = KeysValues(keys, values, (len(long), *grid))
            pasts.append(Past(kept, KeysValues(*short, (1, *grid))))
        outputs, self.traces = self.model.lstt(tokens, grid, pasts)
        maps = [x.mT.unflatten(2, grid) for x in (tokens, *outputs)]
        logits = self.model.decoder(torch.cat(maps, dim=1), features)
        logits[:, 1 + self.objects :] = -1e10
        return logits

    def update(self, labels: Tensor, step: int) -> None:
        """The predicted frame becomes the short-term memory, and is kept when enough frames have passed."""
        self.short = self.keys_and_values(self.identity(labels))
        if self.every and step - self.kept_at >= self.every:
            self.kept_at = step
            self.keep()

    def keys_and_values(self, identity: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The identity is added before the value projection."""
        pairs = zip(self.model.lstt.blocks, self.traces, strict=True)
        return [(trace.keys, block.value(trace.content + identity)) for block, trace in pairs]

    def keep(self) -> None:
        for long, newest in zip(self.long, self.short, strict=True):
            long.insert(0, newest)


def aligned(video: tuple[int, int], stride: int, longest: int, corners: bool) -> tuple[int, int]:
    """The size of the network for a video: limit the long edge, then go to the nearest side that fits."""
    scale = min(1, longest / max(video))
    return tuple(int(np.around((int(side * scale) - corners) / stride) * stride + corners) for side in video)


def nearest(labels: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Label maps go to the size of the network by the old rule: the pixel at floor(index * scale)."""
    rows, columns = (np.arange(n) * side // n for n, side in zip(size, labels.shape, strict=True))
    return torch.from_numpy(labels[rows[:, None], columns].astype(np.int64))


class PlainLoop:
    """The released evaluation of one video; label maps hold objects 1..n without gaps."""

    def __init__(self, model: AOT, every: int, video: tuple[int, int]) -> None:
        self.model, self.every, self.video = model, every, video
        self.corners = model.config.align_corners
        self.size = aligned(video, model.sizing.stride, model.config.longest, self.corners)
        self.engines: list[Engine] = []

    def encode(self, frame: np.ndarray) -> None:
        image = torch.from_numpy(frame.astype(np.float32)).permute(2, 0, 1)[None]
        image = F.interpolate(image, self.size, mode="bicubic", align_corners=False) / 255  # not clipped
        image = (image - self.model.mean) / self.model.std
        self.features = self.model.encoder(image)
        projected = self.model.project(self.features[-1])
        self.tokens, self.grid = projected.flatten(2).mT, tuple(projected.shape[2:])

    def predict(self) -> Tensor:
        """Merged logits at the size of the video, (1 + M per engine, H, W)."""
        small = [engine.predict(self.tokens, self.grid, self.features) for engine in self.engines]
        large = [F.interpolate(x, self.video, mode="bilinear", align_corners=self.corners)[0] for x in small]
        if len(large) == 1:
            return large[0]
        shares = [x.softmax(dim=0) for x in large]
        background = torch.stack([share[0] for share in shares]).prod(dim=0)[None]
        return torch.cat([background, *(share[1:] for share in shares)]).clamp(1e-5, 1 - 1e-5).logit()

    def split(self, labels: np.ndarray) -> list[Tensor]:
        """What each engine sees: its objects numbered from 1, the others are background."""
        small = nearest(labels, self.size)
        firsts = range(0, IDENTITIES * len(self.engines), IDENTITIES)
        return [torch.where((small > k) & (small <= k + IDENTITIES), small - k, 0) for k in firsts]

    def refer(self, labels: np.ndarray, objects: int, step: int) -> None:
        """The frame as a reference for every engine; a new engine has memory from here on."""
        while IDENTITIES * len(self.engines) < objects:
            self.engines.append(Engine(self.model, self.every))
        for i, (engine, own) in enumerate(zip(self.engines, self.split(labels), strict=True)):
            engine.reference(self.tokens, self.grid, own, min(IDENTITIES, objects - i * IDENTITIES), step)

    def remember(self, labels: np.ndarray, step: int) -> None:
        for engine, own in zip(self.engines, self.split(labels), strict=True):
            engine.update(own, step)


@torch.inference_mode()
def compare(model: AOT, every: int, frames: np.ndarray, masks: dict[int, np.ndarray]) -> list[list[int]]:
    """Step through a video with both; the tracker's labels are fed to both. Returns the frames the tracker kept.

    The logits of every frame agree to 1e-4, the labels wherever the best is ahead by more than 1e-3.
    """
    decoded: list[Tensor] = []
    hook = model.decoder.register_forward_hook(lambda module, inputs, output: decoded.append(output.clone()))
    tracker, loop = Tracker(model, Schedule(every=every, at_most=100)), PlainLoop(model, every, frames.shape[1:3])
    objects, clear, present = 0, [], set()
    for t, frame in enumerate(frames):
        decoded.clear()
        labels = tracker.step(frame, masks.get(t))
        from_tracker = [logits.clone() for logits in decoded]
        loop.encode(frame)
        if loop.engines:
            logits = loop.predict()
            for engine, ours, theirs in zip(loop.engines, from_tracker, decoded[len(from_tracker) :], strict=True):
                assert (ours - theirs)[:, : 1 + engine.objects].abs().max() < 1e-4, f"frame {t}"
            first, second = logits.topk(2, dim=0).values
            sure = ((first - second) > 1e-3).numpy()
            best = logits.argmax(dim=0).numpy()
            wanted = np.where(masks[t] > 0, masks[t], best) if t in masks else best  # old objects first, then merged
            assert np.array_equal(labels[sure], wanted[sure]), f"frame {t}"
            clear.append(sure.mean())
            present |= set(np.unique(best))
        if t in masks:
            objects = max(objects, int(masks[t].max()))
            loop.refer(labels, objects, t)
        else:
            loop.remember(labels, t)
    hook.remove()
    assert np.mean(clear) > 0.97 and len(present) > 1, (clear, present)  # the comparison says something
    held = [[entry.frame for entry in group.memory.kept] for group in tracker.groups]
    assert [len(engine.long[0]) for engine in loop.engines] == [len(frames) for frames in held]
    return held


def clip(objects: int, frames: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (T, H, W, 3) with noise, and labels (T, H, W) in which every object shows."""
    pictures, labels = squares(seed_of(objects), frames=frames, size=size, ids=range(1, objects + 1))
    noise = np.random.default_rng(0).integers(0, 40, pictures.shape, dtype=np.uint8)
    return (pictures // 2 + noise).astype(np.uint8), labels


def seed_of(objects: int) -> int:
    """A seed with which none of the squares hides another one in the first frames."""
    return next(
        seed
        for seed in range(1000)
        if all(
            len(np.unique(picture)) == objects + 1
            for picture in squares(seed, frames=6, size=(60, 91), ids=range(1, objects + 1))[1]
        )
    )


@pytest.mark.parametrize("size", [(60, 91), (57, 41), (70, 120), (33, 33)], ids=str)
@pytest.mark.parametrize("corners", [True, False], ids=["corners", "no corners"])
def test_a_video_of_any_size(corners, size):
    frames, labels = clip(2, 4, size)
    assert compare(network(corners), 0, frames, {0: labels[0]}) == [[0]]


@pytest.mark.parametrize(("every", "kept"), [(0, [0]), (1, [*range(8)]), (2, [0, 2, 4, 6]), (5, [0, 5])])
def test_long_term_memory(every, kept):
    frames, labels = clip(3, 8, (60, 91))
    assert compare(network(True), every, frames, {0: labels[0]}) == [kept]


@pytest.mark.parametrize("corners", [True, False], ids=["corners", "no corners"])
@pytest.mark.parametrize(("every", "kept"), [(0, [0, 3]), (2, [0, 2, 3, 5, 7]), (5, [0, 3, 8])])
def test_an_object_that_comes_in_mid_video(every, kept, corners):
    frames, labels = clip(3, 9, (60, 91))
    masks = {0: np.where(labels[0] == 3, 0, labels[0]), 3: np.where(labels[3] == 3, 3, 0)}
    assert compare(network(corners), every, frames, masks) == [kept]


@pytest.mark.parametrize("corners", [True, False], ids=["corners", "no corners"])
@pytest.mark.parametrize(("every", "kept"), [(0, [0]), (2, [0, 2, 4])])
def test_more_objects_than_identities(every, kept, corners):
    frames, labels = clip(9, 5, (60, 91))
    assert compare(network(corners), every, frames, {0: labels[0]}) == [kept] * 3


@pytest.mark.parametrize(("every", "kept"), [(0, [[0, 2], [2]]), (2, [[0, 2, 4], [2, 4]])])
def test_an_object_that_is_too_many_comes_in_mid_video(every, kept):
    frames, labels = clip(5, 6, (60, 91))
    masks = {0: np.where(labels[0] == 5, 0, labels[0]), 2: np.where(labels[2] == 5, 5, 0)}
    assert compare(network(True), every, frames, masks) == kept


def test_groups_are_merged_by_clamped_odds_and_the_product_of_their_backgrounds():
    first = torch.tensor([[0.3, 0.0, 1.0], [0.7, 1.0, 0.0]])  # background and one object, at three pixels
    second = torch.tensor([[0.5, 0.2, 1.0], [0.1, 0.8, 0.0], [0.4, 0.0, 0.0]])
    merged = merge_groups([first[None, :, None], second[None, :, None]])[0, :, 0]
    low, high = 1e-5 / (1 - 1e-5), (1 - 1e-5) / 1e-5
    odds = torch.tensor([[0.15 / 0.85, low, high], [0.7 / 0.3, high, low], [1 / 9, 4.0, low], [0.4 / 0.6, low, low]])
    assert torch.allclose(merged, odds / odds.sum(0), rtol=5e-3, atol=0)  # 1 - 1e-5 has few digits in float32


# Sizes and parameters of the published networks

SIZES = {  # video -> size of the network, with aligned corners and without
    (480, 854): ((481, 849), (480, 848)),
    (480, 910): ((481, 913), (480, 912)),
    (480, 640): ((481, 641), (480, 640)),
    (480, 720): ((481, 721), (480, 720)),
    (1080, 1920): ((577, 1041), (592, 1040)),
    (720, 1280): ((577, 1041), (592, 1040)),
    (1280, 720): ((1041, 577), (1040, 592)),
    (240, 427): ((241, 433), (240, 432)),
    (129, 193): ((129, 193), (128, 192)),
    (128, 192): ((129, 193), (128, 192)),
    (126, 190): ((129, 193), (128, 192)),
    (464, 464): ((465, 465), (464, 464)),
    (465, 465): ((465, 465), (464, 464)),
}


@cache
def published(variant: str) -> AOT:
    """A network without its weights."""
    with torch.device("meta"):
        return create_model(variant)


@pytest.mark.parametrize("video", SIZES, ids=str)
def test_sizes_are_those_of_the_released_evaluation(video):
    for name, wanted in zip(("aot_t", "swinb_aot_l"), SIZES[video], strict=True):
        assert published(name).sizing(video) == wanted == aligned(video, 16, 1040, name == "aot_t")


def test_frames_are_resized_as_the_released_code_resizes_them():
    frame = np.random.default_rng(51).integers(0, 256, (40, 61, 3)).astype(np.uint8)
    model, taken = network(align_corners=True), []
    model.sizing = Sizing(16, align_corners=True)
    model.encode = lambda picture: taken.append((picture - model.mean) / model.std)
    with pytest.raises(Exception):  # noqa: B017, the tracker stops where there are no features
        Tracker(model).step(frame, np.ones((40, 61), np.uint8))
    (picture,) = taken
    assert picture.shape == (1, 3, 33, 65)
    assert abs(picture.mean() - 0.202355) < 1e-5 and abs(picture.std(correction=0) - 1.103509) < 1e-5
    row = torch.tensor([-0.526475, -0.819834, -0.813639, 1.162641, 0.096832, 0.609690, -0.532193, 0.637555])
    assert torch.allclose(picture[0, 0, 0, :8], row, atol=2e-5)
    assert torch.allclose(picture[0, 0, 0, -3:], torch.tensor([0.183160, 1.246944, -1.369517]), atol=2e-5)


SHARED = {"encoder": 2_189_760, "project": 327_936, "identity_bank": 814_080}  # of all with MobileNet-V2
PARAMETERS = {  # by module, then those trained; the released transformer has 256 more, a token that it never uses
    "aot_t": (SHARED | {"lstt": 1_198_856 - 256, "decoder": 1_203_467}, 5_719_523 - 256),
    "aot_s": (SHARED | {"lstt": 2_397_456 - 256, "decoder": 1_269_003}, 6_983_659 - 256),
    "aot_b": (SHARED | {"lstt": 3_596_056 - 256, "decoder": 1_334_539}, 8_247_795 - 256),
    "aot_l": (SHARED | {"lstt": 3_596_056 - 256, "decoder": 1_334_539}, 8_247_795 - 256),
    "r50_aot_l": (
        {"encoder": 8_512_704, "project": 262_400, "identity_bank": 814_080}
        | {"lstt": 3_596_056 - 256, "decoder": 1_724_683},
        14_687_523 - 256,
    ),
    "swinb_aot_l": (
        {"encoder": 59_438_456, "project": 131_328, "identity_bank": 721_152}
        | {"lstt": 3_596_056 - 256, "decoder": 1_511_691},
        64_994_259 - 256,
    ),
}
EARLY = {  # what is not trained
    "aot_t": ("conv_stem.", "blocks.0.", "blocks.1."),
    "r50_aot_l": ("conv1.", "layer1."),
    "swinb_aot_l": ("patch_embed.", "layers.0."),
}


@pytest.mark.parametrize("variant", PARAMETERS)
def test_parameters_are_those_of_the_released_networks(variant):
    (by_module, trained), model = PARAMETERS[variant], published(variant)
    assert {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()} == by_module
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained
    early = tuple(f"encoder.body.{part}" for part in EARLY.get(variant, EARLY["aot_t"]))
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != name.startswith(early), name


def test_what_is_kept_and_how_often():
    models = {name: published(name) for name in PARAMETERS}
    assert {name: (m.schedule.every, m.schedule_in_training.every) for name, m in models.items()} == {
        name: (5, 2) if name.endswith("_l") else (0, 0) for name in PARAMETERS
    }
    assert {name for name, m in models.items() if not m.sizing.align_corners} == {"swinb_aot_l"}
    assert all((m.sizing.longest, m.sizing.short_side, m.max_objects) == (1040, None, 10) for m in models.values())

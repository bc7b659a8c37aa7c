"""Damaged files: 50 random corruptions of each kind end in one clear line or a whole result, never in between."""

import random
from pathlib import Path

import pytest
import torch
from PIL import Image

from minivos.models import create_model, save_weights
from minivos.video.frames import OverlayWriter
from minivos.video.mask_files import write_mask
from test_cli import run, square

FRAMES, CORRUPTIONS = 3, 50


def damage(content: bytes, seed: int) -> bytes:
    """Content with some bytes changed, a stretch overwritten, a piece taken out, or the end cut off."""
    rng = random.Random(seed)
    data = bytearray(content)
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.randint(1, max(1, len(data) // 4)))
    match seed % 4:
        case 0:
            for _ in range(rng.randint(1, 20)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        case 1:
            data[start:end] = rng.randbytes(end - start)
        case 2:
            del data[start:end]
        case 3:
            del data[start:]
    return bytes(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with frames/, clip.mp4, first.png and weights.safetensors that fit together."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "frames").mkdir()
    with OverlayWriter(folder / "clip.mp4", square(0)[1].shape, 12) as writer:
        for t in range(FRAMES):
            frame, labels = square(t)
            Image.fromarray(frame).save(folder / "frames" / f"{t:05}.jpg")
            writer.write(frame, 0 * labels)
    write_mask(folder / "first.png", square(0)[1])
    torch.manual_seed(0)
    save_weights(create_model("sst_mini"), folder / "weights.safetensors")
    return folder


KINDS = {"mask": "first.png", "jpeg": "frames/00001.jpg", "mp4": "clip.mp4", "weights": "weights.safetensors"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_gives_a_clear_error_or_a_whole_result(kind, whole, tmp_path, capsys):
    file, refused = whole / KINDS[kind], 0
    content = file.read_bytes()
    video = whole / ("clip.mp4" if kind == "mp4" else "frames")
    try:
        for seed in range(CORRUPTIONS):
            file.write_bytes(damage(content, seed))
            out = tmp_path / str(seed)
            status, printed = run(
                "segment", video, "--mask", whole / "first.png", "--model", "sst_mini", "--weights",
                whole / "weights.safetensors", "--out", out, "--side", 32, "--device", "cpu",
            )  # fmt: skip
            left = [path for path in out.rglob("*") if path.is_file() and path.name != ".minivos"]
            if status == 0:
                masks = {path.name for path in out.glob("masks/*.png")}
                beside = {"overlay.mp4", "confidence.csv"}
                assert masks and {path.name for path in left} == masks | beside, (seed, left)
            else:
                refused += 1
                assert status == 2 and "minivos: " in printed and "Traceback" not in printed, (seed, printed)
                assert not left, (seed, left)
    finally:
        file.write_bytes(content)
    with capsys.disabled():
        print(f" {kind}: {refused} of {CORRUPTIONS} damaged files refused, the others gave a whole result", end="")
    checked = kind in ("mask", "weights")  # PNG and weights have checksums; a damaged video may show damage instead
    assert refused == CORRUPTIONS if checked else refused > 0

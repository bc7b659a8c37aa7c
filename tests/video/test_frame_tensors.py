"""Frames as a network gets them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minivos.models import create_model
from minivos.video.frame_tensors import resize_frames, to_network

FRAME = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["aot_mini", "sst_mini", "sitvos_mini", "hst_mini"])
def test_frames_have_the_size_that_the_network_wants_and_their_channels_last(name: str) -> None:
    network = create_model(name)
    for side in (None, 60, 32):
        image = to_network(FRAME, network, side)
        assert image.shape == (1, 3, *network.sizing((60, 80), side)) and image.dtype == torch.float32
        assert image.is_contiguous(memory_format=torch.channels_last)


def test_a_frame_of_the_right_size_keeps_its_values() -> None:
    image = to_network(FRAME[:56], create_model("aot_mini"), 56)
    assert torch.equal(image[0], torch.from_numpy(FRAME[:56]).permute(2, 0, 1) / 255)


def test_a_frame_of_one_colour_keeps_it_when_resized() -> None:
    image = to_network(np.full((120, 160, 3), (255, 0, 51), np.uint8), create_model("aot_mini"), 48)
    assert image.amin(dim=(0, 2, 3)).tolist() == pytest.approx([1, 0, 0.2], abs=1e-5)
    assert image.amax(dim=(0, 2, 3)).tolist() == pytest.approx([1, 0, 0.2], abs=1e-5)


def test_shrunk_bytes_are_shrunk_floats_to_the_next_whole_number() -> None:
    frames = torch.from_numpy(FRAME).permute(2, 0, 1)[None]
    shrunk = resize_frames(frames.float(), (24, 30), antialias=True)
    exact = F.interpolate(frames.float(), (24, 30), mode="bicubic", antialias=True)
    assert shrunk.dtype == torch.float32 and (shrunk - exact).abs().max() < 1.1
    assert torch.equal(resize_frames(frames, (24, 30), antialias=True), shrunk.byte())

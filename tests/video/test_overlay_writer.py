"""Films with the labels drawn on their frames, whole or not there."""

import math

import av
import numpy as np
import pytest

from minivos.errors import InputError
from minivos.video.clip import Clip
from minivos.video.frames import OverlayWriter, open_frames
from minivos.video.masks import object_colour


def frames(count, height=20, width=30):
    """Frames of one grey each, 40 apart."""
    greys = np.arange(40, 40 * count + 1, 40, dtype=np.uint8)
    return np.broadcast_to(greys[:, None, None, None], (count, height, width, 3))


def nothing(height=20, width=30):
    return np.zeros((height, width), dtype=np.uint8)


@pytest.mark.parametrize(("asked", "given"), [(1e6, 240), (1e-9, 0.1), (29.97, 29.97)])
def test_rates_that_players_cannot_show_are_bounded_and_said(tmp_path, asked, given, caplog):
    with OverlayWriter(tmp_path / "a.mp4", (20, 30), fps=asked) as writer:
        for frame in frames(3):
            writer.write(frame, nothing())
    assert abs(open_frames(tmp_path / "a.mp4").fps - given) < 0.01 * given
    assert ("players need that" in caplog.text) == (asked != given)


@pytest.mark.parametrize("fps", [0, -1, math.nan, math.inf, "24"])
def test_rates_and_sizes_that_are_none(tmp_path, fps):
    for size, rate in (((20, 30), fps), ((2.5, 30), 24), ((0, 30), 24)):
        with pytest.raises(InputError, match="frames per second; expected positive numbers"):
            OverlayWriter(tmp_path / "a.mp4", size, rate)


@pytest.mark.parametrize("size", [(1, 1), (20, 30), (21, 33)])
def test_mp4_of_odd_sizes_grows_to_even_ones(tmp_path, size):
    with OverlayWriter(tmp_path / "a.mp4", size, fps=30) as writer:
        writer.write(frames(1, *size)[0], nothing(*size))
    clip = Clip.load(tmp_path / "a.mp4")
    assert clip.frames.shape == (1, size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")


def test_mp4_shows_the_overlay(tmp_path):
    frame = np.full((120, 160, 3), 90, dtype=np.uint8)
    shown = np.zeros((120, 160), dtype=np.uint8)
    shown[30:90, 40:120] = 2
    with OverlayWriter(tmp_path / "a.mp4", (120, 160), fps=24) as writer:
        writer.write(frame, shown)
    picture = Clip.load(tmp_path / "a.mp4").frames[0].astype(int)
    assert abs(picture[60, 80] - (90 + np.array(object_colour(2))) // 2).max() < 12
    assert abs(picture[10, 10] - 90).max() < 8


def test_mp4_is_whole_or_not_there(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(KeyError), OverlayWriter(path, (20, 30), fps=24) as writer:
        writer.write(frames(1)[0], nothing())
        raise KeyError("the network failed")
    with pytest.raises(InputError, match="got no frame"), OverlayWriter(path, (20, 30), fps=24):
        pass
    with pytest.raises(InputError, match=r"takes frames of shape"), OverlayWriter(path, (20, 30), fps=24) as writer:
        writer.write(frames(1, 22, 30)[0], nothing(22, 30))
    with pytest.raises(InputError, match="cannot write"), OverlayWriter(tmp_path / "no" / "a.mp4", (20, 30), fps=24):
        pytest.fail("opened in a folder that does not exist")
    assert list(tmp_path.iterdir()) == []

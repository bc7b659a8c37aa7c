"""Clips and videos: folders, DAVIS sequences and video files in, folders out."""

import io
import logging
import math
import os
import struct
import types
import warnings
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image, ImageOps

import minivos.video.frames as frames_module
from minivos.errors import InputError
from minivos.video.clip import Clip, find_masks
from minivos.video.files import clear_folder
from minivos.video.frames import OverlayWriter, open_frames
from minivos.video.mask_files import check_mask, write_mask
from minivos.video.masks import check_picture

REAL_CLIPS = Path(__file__).parents[3] / "shared" / "clips"


def frames(count=3, height=20, width=30):
    """Frames of one grey each, 40 apart, with the left third in red: codecs keep such flat pictures."""
    made = np.full((count, height, width, 3), 40, dtype=np.uint8) * np.arange(1, count + 1)[:, None, None, None]
    made[:, :, : width // 3] = (200, 0, 0)
    return made.astype(np.uint8)


def labels(height=20, width=30):
    made = np.zeros((height, width), dtype=np.uint8)
    made[5:15, 8:20] = 1
    return made


def save_frames(folder, pictures, names=None, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in zip(names or [f"{t:05d}" for t in range(len(pictures))], pictures, strict=True):
        Image.fromarray(picture).save(folder / f"{name}{suffix}")
    return folder


def noise_video(path, count=40, codec="libx264", **options):
    """A video that does not compress, so that cutting the file cuts frames."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(count):
            noise = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    return path


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "film.mp4"
    with OverlayWriter(path, (20, 30), fps=12.5) as writer:
        for frame in frames(5):
            writer.write(frame, np.zeros((20, 30), dtype=np.uint8))
    return path


# --- folders ---


def test_folder_is_read_in_natural_order_from_any_number(tmp_path):
    folder = save_frames(tmp_path / "clip", frames(3), names=["f9", "f10", "f11"])
    (folder / "notes.txt").write_text("no frame")
    (folder / "._f9.png").write_bytes(b"what some systems leave behind")
    clip = Clip.load(folder)
    assert np.array_equal(clip.frames, frames(3)) and clip.frames.dtype == np.uint8
    assert clip.frame_names == ["f9", "f10", "f11"]
    assert (clip.name, clip.fps, clip.masks) == ("clip", 24.0, {})


def test_stride_and_max_side(tmp_path):
    folder = save_frames(tmp_path / "frames", frames(5, 20, 40)).parent
    for t in range(5):
        (folder / "masks").mkdir(exist_ok=True)
        write_mask(folder / "masks" / f"{t:05d}.png", np.full((20, 40), t, dtype=np.uint8))
    clip = Clip.load(folder, max_side=20, stride=2)
    assert clip.frames.shape == (3, 10, 20, 3)
    assert clip.frame_names == ["00000", "00002", "00004"] and clip.fps == 12
    assert {t: mask.max() for t, mask in clip.masks.items()} == {0: 0, 1: 2, 2: 4}
    assert clip.masks[0].shape == (10, 20)
    assert Clip.load(folder, max_side=1000).frames.shape == (5, 20, 40, 3)


def test_shrunken_masks_stay_on_their_object(tmp_path):
    picture = np.zeros((1, 90, 90, 3), dtype=np.uint8)
    picture[:, :, 31:62] = 255
    save_frames(tmp_path / "frames", picture)
    (tmp_path / "masks").mkdir()
    write_mask(tmp_path / "masks" / "00000.png", picture[0, ..., 0])
    clip = Clip.load(tmp_path, max_side=30)
    assert np.array_equal(clip.masks[0], np.where(clip.frames[0, ..., 0] > 127, 255, 0))


def test_shrinking_averages_instead_of_skipping_pixels(tmp_path):
    stripes = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    stripes[:, :, ::2] = 255
    small = Clip.load(save_frames(tmp_path, stripes), max_side=16).frames
    assert abs(small[0, :, 3:-3].astype(int) - 127).max() < 12


@pytest.mark.parametrize("colour_mode", ["L", "1", "P", "RGBA", "LA", "I;16", "CMYK"])
def test_pictures_of_every_kind_become_rgb(tmp_path, colour_mode):
    picture = Image.fromarray(np.array([[0, 0, 255, 255]], dtype=np.uint8).repeat(3, axis=0))
    if colour_mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    else:
        picture = picture.convert("RGB").convert(colour_mode)
    picture.save(tmp_path / "0.tif")
    assert Clip.load(tmp_path).frames[0, 0].tolist() == [[0] * 3] * 2 + [[255] * 3] * 2


def test_sixteen_bits_are_scaled_and_transparency_lies_on_black(tmp_path):
    save_frames(tmp_path / "deep", [np.array([[0, 257 * 200, 65535]], dtype=np.uint16)])
    assert Clip.load(tmp_path / "deep").frames[0, 0, :, 0].tolist() == [0, 200, 255]
    save_frames(tmp_path / "clear", [np.array([[[200, 100, 50, 255], [200, 100, 50, 0]]], dtype=np.uint8)])
    assert Clip.load(tmp_path / "clear").frames[0, 0].tolist() == [[200, 100, 50], [0, 0, 0]]


def test_pictures_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned clockwise
    Image.fromarray(frames(1, 20, 30)[0]).save(tmp_path / "0.jpg", exif=exif)
    source = open_frames(tmp_path)
    picture = next(iter(source))
    assert picture.shape == (30, 20, 3) and source.size == (30, 20)
    assert picture[2, :, 0].min() > 150 and picture[2, :, 1].max() < 60  # the red third is now at the top


@pytest.mark.parametrize("note", [0, 9, 99, 65535])
def test_notes_that_no_camera_writes_turn_nothing(tmp_path, note):
    exif = Image.Exif()
    exif[0x0112] = note
    picture = frames(1, 20, 30)[0]
    Image.fromarray(picture).save(tmp_path / "0.jpg", exif=exif, quality=95)
    clip = Clip.load(tmp_path)
    assert clip.frames.shape[1:3] == (20, 30) and abs(clip.frames[0].astype(int) - picture).mean() < 4


@pytest.mark.parametrize("note", range(1, 9))
def test_every_note_turns_as_pillow_does(tmp_path, note):
    exif = Image.Exif()
    exif[0x0112] = note
    noise = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "0.jpg", exif=exif)
    with Image.open(tmp_path / "0.jpg") as picture:
        assert np.array_equal(Clip.load(tmp_path).frames[0], np.array(ImageOps.exif_transpose(picture)))


# --- masks of a clip ---


@pytest.mark.parametrize("resolution", ["480p", ""])
def test_davis_sequences_find_their_annotations(tmp_path, resolution):
    folder = save_frames(tmp_path / "JPEGImages" / resolution / "bear", frames(3))
    annotations = tmp_path / "Annotations" / resolution / "bear"
    annotations.mkdir(parents=True)
    write_mask(annotations / "00001.png", labels())
    clip = Clip.load(folder)
    assert list(clip.masks) == [1] and np.array_equal(clip.masks[1], labels())
    assert clip.name == "bear"


@pytest.fixture
def davis(tmp_path):
    """A data set of one sequence, `bear`, whose first mask is known."""
    root = tmp_path / "disk" / "DAVIS"
    save_frames(root / "JPEGImages" / "480p" / "bear", frames(2))
    (root / "Annotations" / "480p" / "bear").mkdir(parents=True)
    write_mask(root / "Annotations" / "480p" / "bear" / "00000.png", labels())
    return root


@pytest.mark.parametrize("linked", ["", "JPEGImages", "JPEGImages/480p", "JPEGImages/480p/bear", "Annotations"])
def test_data_sets_made_of_links_find_their_annotations(davis, tmp_path, monkeypatch, linked):
    """A folder of the data set lies elsewhere under another name, as on shared disks, and a link leads to it."""
    (davis / linked).rename(tmp_path / "elsewhere")
    (davis / linked).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    folder = davis / "JPEGImages" / "480p" / "bear"
    monkeypatch.chdir(davis.parent)
    for path in (folder, "DAVIS/JPEGImages/480p/bear", "./DAVIS/JPEGImages/480p/bear/"):
        clip = Clip.load(path)
        assert clip.name == "bear" and list(clip.masks) == [0] and np.array_equal(clip.masks[0], labels())


def test_a_link_into_a_data_set_finds_its_annotations_too(davis, tmp_path, monkeypatch):
    (tmp_path / "mine").symlink_to(davis / "JPEGImages" / "480p" / "bear", target_is_directory=True)
    assert list(Clip.load(tmp_path / "mine").masks) == [0]
    assert Clip.load(tmp_path / "mine").name == "mine"
    monkeypatch.chdir(davis / "JPEGImages" / "480p" / "bear")
    assert list(find_masks(".")) == ["00000"] and Clip.load(".").name == "bear"


def test_masks_that_do_not_fit_are_refused(tmp_path):
    save_frames(tmp_path / "frames", frames(3))
    (tmp_path / "masks").mkdir()
    assert find_masks(tmp_path) == {}
    write_mask(tmp_path / "masks" / "00001.png", labels(20, 31))
    with pytest.raises(InputError, match=r"00001.png is 31x20 pixels, but 30x20 were expected"):
        Clip.load(tmp_path)
    write_mask(tmp_path / "masks" / "00001.png", labels())
    write_mask(tmp_path / "masks" / "7.png", labels())
    with pytest.raises(InputError, match=r"7.png belongs to no frame; expected a frame's name, such as 00000"):
        Clip.load(tmp_path)


def test_what_is_no_path_is_refused():
    with pytest.raises(InputError, match="got None as path; expected a text or a pathlib.Path"):
        Clip.load(None)


def test_clip_checks_what_it_is_given():
    for arguments, message in [
        ({"frames": frames().astype(float)}, "got frames of float64 and shape"),
        ({"frames": frames()[0]}, r"expected uint8 of shape \(T,H,W,3\)"),
        ({"frames": frames()[:0]}, "T > 0"),
        ({"masks": {3: labels()}}, r"expected uint8 at the number of a frame, 0\.\.2"),
        ({"masks": {0.5: labels()}}, r"mask 0\.5 of uint8; expected uint8 at the number of a frame"),
        ({"masks": {"0": labels()}}, r"mask '0' of uint8; expected uint8 at the number of a frame"),
        ({"masks": {0: labels().tolist()}}, "got list as frames or mask; expected NumPy arrays"),
        ({"frames": frames().tolist()}, "got list as frames or mask; expected NumPy arrays"),
        ({"fps": math.nan}, "got fps=nan; expected frames per second"),
        ({"fps": "24"}, "got fps='24'"),
        ({"masks": [np.zeros((20, 30), np.uint8)]}, "got list as masks; expected {frame number: mask}"),
        ({"masks": None}, "got NoneType as masks"),
        ({"frame_names": [0, 1, 2]}, "got 0 as frame name"),
        ({"frame_names": ["../0", "1", "2"]}, "got '../0' as frame name"),
        ({"frame_names": ["", "1", "2"]}, "got '' as frame name"),
        ({"masks": {0: labels(20, 31)}}, "31x20 pixels"),
        ({"masks": {0: labels().astype(int)}}, "got mask 0 of int64"),
        ({"frame_names": ["0", "1"]}, "2 frame names"),
        ({"frame_names": ["2", "10", "1"]}, "natural order"),
        ({"frame_names": ["1", "1", "2"]}, "all different"),
    ]:
        with pytest.raises(InputError, match=message):
            Clip(**{"frames": frames(), **arguments})


@pytest.mark.parametrize("count", [1, 4])
def test_saved_clips_load_back_equal(tmp_path, count):
    noise = np.random.default_rng(0).integers(0, 256, (count, 7, 9, 3), dtype=np.uint8)
    void = labels(7, 9) + np.eye(7, 9, dtype=np.uint8) * 255
    clip = Clip(noise, {count - 1: void}, "saved", 29.97, [f"f{t}" for t in range(9, 9 + count)])
    clip.save(tmp_path / "saved")
    again = Clip.load(tmp_path / "saved")
    assert np.array_equal(again.frames, noise)
    assert list(again.masks) == [count - 1] and np.array_equal(again.masks[count - 1], void)
    assert (again.name, again.fps, again.frame_names) == (clip.name, clip.fps, clip.frame_names)


def test_saving_again_replaces_the_old_clip_and_nothing_else(tmp_path):
    folder = tmp_path / "clip"
    Clip(frames(4), {0: labels(), 3: labels()}).save(folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="already holds results"):
        Clip(frames(2)).save(folder)
    assert len(Clip.load(folder)) == 4
    Clip(frames(2)).save(folder, overwrite=True)
    again = Clip.load(folder)
    assert len(again) == 2 and again.masks == {}
    assert sorted(path.name for path in folder.iterdir()) == [".minivos", "clip.json", "frames", "masks", "notes.txt"]


def test_no_masks_of_others_are_lost_to_overwriting(tmp_path):
    save_frames(tmp_path / "mine" / "frames", frames(2))
    (tmp_path / "mine" / "masks").mkdir()
    write_mask(tmp_path / "mine" / "masks" / "00000.png", labels())
    with pytest.raises(InputError, match="did not write, such as frames; expected a new or empty folder"):
        Clip(frames(2)).save(tmp_path / "mine", overwrite=True)
    assert list(Clip.load(tmp_path / "mine").masks) == [0]


def test_saving_over_a_link_leaves_what_it_leads_to(tmp_path):
    folder, elsewhere = tmp_path / "clip", save_frames(tmp_path / "elsewhere", frames(3))
    Clip(frames(4)).save(folder)
    clear_folder(folder / "frames")
    (folder / "frames").symlink_to(elsewhere, target_is_directory=True)
    Clip(frames(2)).save(folder, overwrite=True)
    assert len(Clip.load(folder)) == 2 and len(Clip.load(elsewhere)) == 3


def test_a_clip_of_read_only_arrays_is_as_good_as_another(tmp_path):
    """What `np.asarray` makes of a Pillow picture must not be written to."""
    pictures, mask = frames(2), labels()
    pictures.flags.writeable = mask.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip = Clip(pictures, {0: mask})
        clip.save(tmp_path / "clip")
        with OverlayWriter(tmp_path / "a.mp4", (20, 30), fps=24) as writer:
            writer.write(check_picture(clip.frames[0]), check_mask(clip.masks[0], (20, 30)))
    assert np.array_equal(Clip.load(tmp_path / "clip").masks[0], mask)


# --- video files ---


def test_video_is_read_one_frame_at_a_time_and_again(video):
    source = open_frames(video)
    assert (source.name, source.size, source.fps, source.count) == ("film", (20, 30), 12.5, 5)
    for _ in range(2):
        read = np.stack(list(source))
        assert read.dtype == np.uint8
        assert abs(read.astype(int) - frames(5)).mean() < 3  # lossy, but of the right colours
    assert list(islice(source.names, 2)) == ["00000", "00001"]


def test_video_with_stride_and_max_side(video):
    source = open_frames(video, stride=2, max_side=15)
    read = np.stack(list(source))
    assert read.shape == (3, 10, 15, 3) and source.count == 3 and source.fps == 6.25
    assert abs(read[:, 5, 12, 0].astype(int) - (40, 120, 200)).max() < 8
    assert list(islice(source.names, 3)) == ["00000", "00002", "00004"]
    assert Clip.load(video, stride=2).frame_names == ["00000", "00002", "00004"]


def test_frames_are_counted_where_the_file_does_not_say(tmp_path):
    source = open_frames(noise_video(tmp_path / "a.mkv", count=4))
    assert source.count == 4 and len(list(source)) == 4 and source.fps == 25


def timed_video(path, seconds, codec="libx264", size=(20, 30), pixel=None, pix_fmt="yuv420p"):
    """The grey frames, each shown at its time in seconds, with pixels of an aspect."""
    unit = Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.time_base = unit
        if pixel is not None:
            stream.codec_context.sample_aspect_ratio = pixel
        for picture, second in zip(frames(len(seconds), *size), seconds, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base, frame.pts = unit, round(second / unit)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


FORMATS = [
    ("a.gif", "gif", "rgb8"),
    ("a.avi", "mpeg4", "yuv420p"),
    ("a.webm", "libvpx-vp9", "yuv420p"),
    ("a.ts", "libx264", "yuv420p"),
    ("a.mkv", "libx264", "yuv444p"),
    ("a.mov", "libx265", "yuv420p10le"),
    ("a.mkv", "libsvtav1", "yuv420p"),
    ("a.mp4", "libx264", "yuv420p"),
]


@pytest.fixture
def same_priority() -> Iterator[None]:
    """Undo what libsvtav1 does as root: for good, its process runs before all others of the machine."""
    yield
    for thread in Path("/proc/self/task").glob("*"):
        os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), FORMATS)
def test_every_usual_format_is_read(tmp_path, name, codec, pix_fmt, same_priority):
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no {codec}")
    size = (64, 96)  # AV1 takes no less
    source = open_frames(timed_video(tmp_path / name, [t / 25 for t in range(5)], codec, size, pix_fmt=pix_fmt))
    read = np.stack(list(source))
    assert source.count == 5 and abs(source.fps - 25) < 0.5
    assert abs(read[:, 30, 70].astype(int) - frames(5, *size)[:, 30, 70]).max() < 60  # rgb8 has few greys


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.mp4", "libx264"), ("a.webm", "libvpx-vp9")])
def test_frames_shown_at_uneven_times_last_as_long_together(tmp_path, name, codec, caplog):
    times = [0, 0.1, 0.2, 5, 5.1, 7.5]
    source = open_frames(timed_video(tmp_path / name, times, codec))
    assert abs(len(list(source)) / source.fps - 9) < 0.1 and "shows its frames at uneven times" in caplog.text
    caplog.clear()
    even = open_frames(timed_video(tmp_path / name, [1.5 * t for t in range(6)], codec))  # these files say 24
    assert abs(even.fps - 1 / 1.5) < 0.01 and not caplog.records
    assert open_frames(tmp_path / name, stride=3).fps == even.fps / 3


@pytest.mark.parametrize(
    ("pixel", "shown"), [(Fraction(2, 1), (20, 60)), (Fraction(1, 2), (40, 30)), (Fraction(64, 45), (20, 43))]
)
def test_pixels_that_are_not_square_become_square(tmp_path, pixel, shown):
    path = timed_video(tmp_path / "a.mp4", [0, 0.1], pixel=pixel)
    clip = Clip.load(path)
    assert clip.frames.shape[1:3] == shown == open_frames(path).full_size
    third = shown[1] // 3
    assert clip.frames[0, 10, third - 4, 0] > 150 and clip.frames[0, 10, third + 4, 0] < 80
    assert max(open_frames(path, max_side=16).size) == 16


def test_pixels_of_an_impossible_aspect_are_taken_as_square(tmp_path, caplog):
    assert Clip.load(timed_video(tmp_path / "a.mp4", [0, 0.1], pixel=Fraction(12, 1))).frames.shape[1:3] == (20, 30)
    assert "taken as square" in caplog.text


def test_video_of_a_phone_is_turned_upright(video):
    upright = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    clockwise = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    data = video.read_bytes()
    start = data.index(upright, data.index(b"tkhd"))
    video.write_bytes(data[:start] + clockwise + data[start + len(upright) :])
    clip = Clip.load(video)
    assert clip.frames.shape == (5, 30, 20, 3)
    assert clip.frames[0, 4, 10, 0] > 150 and clip.frames[0, 25, 10, 0] < 80  # the red third is now at the top


def test_a_clip_that_does_not_fit_into_memory_is_refused_with_the_sizes(video, monkeypatch):
    free = types.SimpleNamespace(available=5000)
    monkeypatch.setattr("minivos.video.clip.psutil.virtual_memory", lambda: free)
    with pytest.raises(InputError, match=r"film.mp4 takes 0.0 GiB as a clip \(5 frames of 30x20\), and 0.0 are free"):
        Clip.load(video)
    assert len(Clip.load(video, stride=3).frames) == 2


def test_a_count_that_is_wrong_costs_no_frame(video, monkeypatch):
    whole = Clip.load(video).frames
    for count in (None, 1, 3, 99):
        source = open_frames(video)
        source.count = count
        monkeypatch.setattr("minivos.video.clip.open_frames", lambda *_, found=source, **__: found)
        assert np.array_equal(Clip.load(video).frames, whole)


def test_no_more_than_one_frame_is_held(video, monkeypatch):
    source = open_frames(video)
    converted = []
    upright = frames_module._upright
    monkeypatch.setattr(frames_module, "_upright", lambda frame: converted.append(frame) or upright(frame))
    for number, _ in enumerate(source, start=1):
        assert len(converted) == number


# --- what cannot be read ---


def test_paths_that_are_no_clip(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video " * 99)
    (tmp_path / "text.txt").write_text("no video " * 99)
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.mp4", format="PNG")
    (tmp_path / "folder").mkdir()
    for name, message in [
        ("absent.mp4", "does not exist"),
        ("empty.mp4", "is empty; expected a whole video"),
        ("text.mp4", "cannot be opened as a video"),
        ("text.txt", "holds no video"),
        ("picture.png", "is a single picture"),
        ("picture.mp4", "holds no video"),
        ("folder", "holds no picture"),
    ]:
        with pytest.raises(InputError, match=message):
            Clip.load(tmp_path / name)


def test_sound_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(InputError, match=r"holds no video \(it reads as wav\)"):
        open_frames(tmp_path / "a.wav")


def test_the_cover_of_a_record_is_no_video(tmp_path):
    cover = io.BytesIO()
    Image.new("RGB", (32, 32)).save(cover, "PNG")
    with av.open(str(tmp_path / "a.mp3"), "w", format="mp3") as container:
        sound = container.add_stream("mp3", rate=44100)
        picture = container.add_stream("png", rate=1)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "rgb24"
        picture.disposition = Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1152), dtype=np.float32), format="fltp", layout="stereo")
        silence.rate = 44100
        container.start_encoding()
        packet = av.Packet(cover.getvalue())
        packet.stream = picture
        packet.pts = packet.dts = 0
        container.mux(packet)
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with av.open(str(tmp_path / "a.mp3")) as container:
        assert len(container.streams.video) == 1  # what makes it look like a video
    with pytest.raises(InputError, match=r"holds no video \(it reads as mp3\)"):
        open_frames(tmp_path / "a.mp3")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_refused_as_video_and_among_frames(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"a.mp4 is no regular file"):
        open_frames(tmp_path / "a.mp4")
    os.mkfifo(save_frames(tmp_path / "frames", frames(2)) / "00002.png")
    with pytest.raises(InputError, match=r"00002.png is no regular file"):
        open_frames(tmp_path / "frames")


def test_a_list_of_films_is_not_waited_for(tmp_path):
    (tmp_path / "live.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n")
    (tmp_path / "all.ffconcat").write_text("ffconcat version 1.0\nfile 'secret.mp4'\n")
    for name, said in (
        ("live.m3u8", "lists films that lie elsewhere"),
        ("all.ffconcat", "cannot be opened as a video"),
    ):
        with pytest.raises(InputError, match=said):
            open_frames(tmp_path / name)


def test_a_path_that_cannot_be_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot look at .*File name too long"):
        open_frames(tmp_path / ("long" * 99))


def test_a_name_is_never_taken_for_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.rename(noise_video(tmp_path / "a.mp4", count=2), "pipe:0.mp4")
    assert len(list(open_frames("pipe:0.mp4"))) == 2
    with OverlayWriter("12:30.mp4", (20, 30), fps=24) as writer:
        writer.write(frames(1)[0], np.zeros((20, 30), np.uint8))
    assert (tmp_path / "12:30.mp4").is_file()


def test_video_without_its_table_of_contents(tmp_path):
    with pytest.raises(InputError, match="cannot be opened as a video"):
        open_frames(cut(noise_video(tmp_path / "a.mp4"), 0.6))


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4")])
def test_video_that_breaks_off_says_where(tmp_path, name, codec):
    source = open_frames(cut(noise_video(tmp_path / name, codec=codec, movflags="faststart"), 0.6))
    read = []
    with pytest.raises(InputError, match="breaks off at frame ") as caught:
        read.extend(1 for _ in source)
    assert 10 < int(str(caught.value).split("frame ")[1].split(";")[0]) < 30


def test_video_damaged_midway_says_where(tmp_path):
    path = noise_video(tmp_path / "a.mp4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8000] = bytes(8000)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"breaks off at frame (1[5-9]|2\d);"):
        list(open_frames(path))


def test_video_that_breaks_off_before_its_first_frame(tmp_path):
    path = noise_video(tmp_path / "a.mp4", movflags="faststart")
    with pytest.raises(InputError, match="breaks off at frame 0"):
        open_frames(cut(path, (path.read_bytes().index(b"mdat") + 20) / path.stat().st_size))


def test_video_shorter_than_it_says_is_reported(tmp_path, caplog):
    path = noise_video(tmp_path / "a.mkv")
    with caplog.at_level(logging.WARNING):
        assert len(list(open_frames(path))) == 40
        assert not caplog.records
        assert len(list(open_frames(cut(path, 0.5)))) < 40
    assert "although it says 1.6 s" in caplog.text


def test_frames_of_mixed_sizes(tmp_path):
    save_frames(tmp_path, [*frames(2), frames(1, 20, 32)[0], frames(1, 9, 9)[0]])
    with pytest.raises(InputError, match=r"00002.png is 32x20 pixels, but 00000.png is 30x20"):
        open_frames(tmp_path)


def test_damaged_pictures_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 60, 60, 3), dtype=np.uint8)
    cut(save_frames(tmp_path, noise, suffix=".jpg") / "00001.jpg", 0.6)
    with pytest.raises(InputError, match=r"00001.jpg cannot be decoded .*truncated"):
        Clip.load(tmp_path)
    (tmp_path / "00001.jpg").write_bytes(b"not a picture")
    with pytest.raises(InputError, match="00001.jpg cannot be decoded"):
        Clip.load(tmp_path)
    (tmp_path / "00001.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="00001.jpg is empty"):
        Clip.load(tmp_path)


@pytest.mark.parametrize("options", [{"stride": 0}, {"max_side": 0}, {"max_side": -3}])
def test_stride_and_max_side_are_positive(tmp_path, options):
    with pytest.raises(InputError, match="expected whole numbers from 1 up"):
        Clip.load(save_frames(tmp_path, frames(2)), **options)


@pytest.mark.parametrize(
    "note",
    ["{", "{}", "[]", '{"fps": "fast"}', '{"fps": 0}', '{"fps": true}', '{"fps": NaN}', '{"fps": 1e999}', "[" * 10**5],
)
def test_damaged_note_of_the_frame_rate(tmp_path, note):
    Clip(frames(2)).save(tmp_path / "clip")
    (tmp_path / "clip" / "clip.json").write_text(note)
    with pytest.raises(InputError, match="clip.json is damaged"):
        Clip.load(tmp_path / "clip")


# --- real clips ---


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="the real clips are not here")
@pytest.mark.parametrize(("name", "count", "size"), [("chair", 60, (320, 480)), ("car-roundabout", 75, (270, 480))])
def test_real_clips(name, count, size):
    source = open_frames(REAL_CLIPS / name)
    assert (source.count, source.size) == (count, size)
    clip = Clip.load(REAL_CLIPS / name, max_side=120, stride=15)
    assert clip.frames.shape[1:3] == (size[0] // 4, size[1] // 4) or abs(clip.frames.shape[1] - size[0] / 4) < 1
    assert set(np.unique(clip.masks[0])) == {0, 1} and list(clip.masks) == list(range(len(clip)))

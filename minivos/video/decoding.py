"""Video files as they come from the decoder: opened, checked, timed, frame by frame."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from minivos.errors import InputError

log = logging.getLogger(__name__)

UNKNOWN_FPS = 24.0  # frames per second of what does not say; DAVIS was filmed at 24
SQUARE_UP_TO = 8.0  # pixels that are said to be longer than this are taken as square
# What the decoder makes of text files and of single pictures, and lists of files that lie elsewhere
NOT_VIDEO = {"tty", "image2", "hls", "concat", "dash", "sdp"}
LIST_OF_FILMS = b"#EXTM3U"


@contextmanager
def open_video(path: Path) -> Iterator[av.container.InputContainer]:
    """A video file, open to be read; InputError when it is damaged or holds no film."""
    if LIST_OF_FILMS in path.open("rb").read(100):  # the decoder would wait for more of it forever
        raise InputError(f"{path} lists films that lie elsewhere; expected a video file: copy it")
    try:  # a damaged title is no reason to refuse; an absolute path is never taken for an address
        container = av.open(
            os.path.abspath(path),
            metadata_errors="replace",
            options={"protocol_whitelist": "file"},
        )
    except (av.FFmpegError, OSError) as error:
        empty = path.stat().st_size == 0
        state = "is empty" if empty else f"cannot be opened as a video ({error.strerror})"
        raise InputError(
            f"{path} {state}; expected a whole video such as .mp4: copy or export it again"
        ) from error
    with container:
        kind = container.format.name
        if film_of(container) is None or kind in NOT_VIDEO or kind.endswith("_pipe"):
            raise InputError(
                f"{path} holds no video (it reads as {kind}); expected a video file such as .mp4"
            )
        yield container


def film_of(container: av.container.InputContainer) -> Any:
    """The first stream of pictures that is no cover of a record; None without any."""
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    films = (stream for stream in container.streams.video if not stream.disposition & covers)
    return next(films, None)


@dataclass
class Timing:
    """How many frames a film has, and how many of them a second shows."""

    frames: int
    fps: float


def timing_of(path: Path, said: float) -> Timing:
    """Frames and mean frames per second of a video by the times at which it shows them.

    What a file says of its rate is kept where it is right: some say 24 whatever they hold.
    """
    times = []
    with open_video(path) as container:
        try:
            for packet in container.demux(film_of(container)):
                if packet.size and packet.pts is not None:
                    times.append(float(packet.pts * packet.time_base))
        except av.FFmpegError:
            pass  # decoding says where it breaks off
    steps = [after - before for before, after in pairwise(sorted(times))]
    if not steps or sum(steps) <= 0:
        return Timing(len(times), said)
    fps = len(steps) / sum(steps)
    if max(steps) > 2.5 * float(np.median(steps)):
        log.warning(
            "%s shows its frames at uneven times; what is written shows them evenly, at %.3g frames"
            " per second, and lasts as long",
            path,
            fps,
        )
    elif abs(fps - said) < 0.02 * said:
        fps = said
    return Timing(len(times), fps)


def pixel_aspect(stream: Any, path: Path) -> float:
    """Width of a pixel over its height."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if 1 / SQUARE_UP_TO <= aspect <= SQUARE_UP_TO:
        return aspect
    log.warning(
        "%s says that its pixels are %g times as wide as high; taken as square", path, aspect
    )
    return 1.0


def decode(container: av.container.InputContainer, path: Path) -> Iterator[av.VideoFrame]:
    """Yield the frames of the film; InputError where the file breaks off."""
    stream = film_of(container)
    number, seconds = 0, 0.0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise InputError(_broken(path, number))
            for frame in packet.decode():
                number += 1
                seconds = max(seconds, frame.time or 0.0)
                yield frame
    except av.FFmpegError as error:
        raise InputError(_broken(path, number)) from error
    promised = (container.duration or 0) / av.time_base
    if number > 1 and seconds < 0.9 * promised - 1 / float(stream.average_rate or UNKNOWN_FPS):
        log.warning(
            "%s ends after %d frames, %.1f s, although it says %.1f s",
            path,
            number,
            seconds,
            promised,
        )


def _broken(path: Path, number: int) -> str:
    return (
        f"{path} breaks off at frame {number}; "
        "expected a whole video: copy it again, or cut it before that frame"
    )

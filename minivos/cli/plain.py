"""Plain words: what goes wrong is said in one line, on every console."""

from __future__ import annotations

import errno
import functools
import io
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from minivos.errors import InputError

SMALLER = "expected less: choose a smaller --side or --max-side, fewer objects, or a smaller batch"


def open_closed_streams() -> None:
    """Let every name be printed on every console, and errors on stdout where stderr is closed."""
    for number in (1, 2):
        try:
            os.fstat(number)
        except OSError:  # the next file to be opened would get that number, and what is printed
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, open until the end
    sys.stderr = sys.stderr or sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def plain_errors(command: Callable) -> Callable:
    """Print bad input as one line and exit with status 2 instead of a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (InputError, OSError, MemoryError, RuntimeError) as error:
            said = in_one_line(error)
            if said is None:
                raise
            print(f"minivos: {said}", file=sys.stderr)
            raise typer.Exit(2) from error

    return run


def in_one_line(error: Exception) -> str | None:
    """What to say of an error; None for one that is a mistake of ours, whose traceback helps."""
    text = " ".join(str(error).split())
    if isinstance(error, InputError):
        return text
    if isinstance(error, OSError) and error.errno not in (
        None,
        errno.EPIPE,
    ):  # `| head` is no error
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; expected files that can be read and a disk with room"
    if isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text:
        return f"the memory is full ({text[:200] or 'no more to be had'}); {SMALLER}"
    return None

"""What the command line says when the system, the console or the memory fails it: one line, no traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minivos.cli.plain import in_one_line

NO_STDERR = (
    "import os, sys; os.close(2); os.execv(sys.executable, [sys.executable, '-m', 'minivos.cli', *sys.argv[1:]])"
)


def minivos(*words: object, code: str | None = None, **environment: str) -> subprocess.CompletedProcess:
    """What `minivos WORDS` does in a process of its own."""
    start = ["-c", code] if code else ["-m", "minivos.cli"]
    command = [sys.executable, *start, *map(str, words)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


def test_names_of_other_languages_are_printed_on_an_ascii_console(tmp_path: Path) -> None:
    for name in ("gr\u00f6\u00dfe-\u6620\u753b.mp4", os.fsdecode(b"caf\xe9.mp4")):
        done = minivos("segment", tmp_path / name, "--mask", "a.png", PYTHONIOENCODING="ascii")
        assert done.returncode == 2 and done.stderr.startswith("minivos: "), done.stderr
        assert done.stderr.count("\n") == 1 and "\\" in done.stderr and "does not exist" in done.stderr


def start(code: str, **environment: str) -> subprocess.CompletedProcess:
    """What code does after the streams are opened, in a process of its own."""
    code = f"import os, sys\n{code}"
    return subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True)


def test_the_standard_output_takes_every_name() -> None:
    code = "from minivos.cli.plain import open_closed_streams; open_closed_streams(); print('\\u6620\\udce9')"
    done = start(code, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "\\u6620\\udce9\n"), done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no numbers for its streams")
def test_closed_streams_hide_no_error_and_no_file_takes_their_place() -> None:
    done = minivos("segment", "none.mp4", "--mask", "a.png", code=NO_STDERR)
    assert done.returncode == 2 and done.stdout.startswith("minivos: none.mp4 does not exist")
    code = """
os.close(2)
sys.stderr = None
from minivos.cli.plain import open_closed_streams
open_closed_streams()
print(sys.stderr is sys.stdout, open(os.devnull).fileno() > 2)"""
    assert start(code).stdout == "True True\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_behind_the_standard_output() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "minivos.cli", "doctor"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode and "No space left on device" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/a"), "out/a: No space left on device; expected"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied; expected files"),
        (MemoryError(), "the memory is full (no more to be had); expected less"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate 20 GiB"),
            "(CUDA out of memory. Tried to allocate",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "the memory is full"),
    ],
)
def test_what_the_system_refuses_is_said_in_one_line(error: Exception, said: str) -> None:
    assert said in in_one_line(error) and "\n" not in in_one_line(error)


def test_mistakes_of_ours_keep_their_traceback() -> None:
    assert in_one_line(RuntimeError("shapes differ")) is None
    assert in_one_line(BrokenPipeError(errno.EPIPE, "Broken pipe")) is None

"""What a command loads before it answers, and how threads wait: seen from a fresh process."""

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import pytest

from minivos.cli import COMMANDS
from minivos.video.mask_files import write_mask

HEAVY = {"torch", "torchvision", "timm", "matplotlib", "av", "numpy"}
PICTURES = {"av", "numpy"}  # what reading video and masks may load
RUN = """
import sys
from minivos.cli import app
try:
    app({words})
finally:
    print("loaded:", *({heavy} & sys.modules.keys()))
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run code in a fresh process, in which nothing says how threads wait."""
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return subprocess.run([sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True)


def answer(*words: object) -> tuple[int, str, set[str]]:
    """Exit status of a command, what it said, and which heavy libraries it loaded."""
    run = python(RUN.format(words=[str(word) for word in words], heavy=HEAVY))
    said, _, loaded = run.stdout.rpartition("loaded:")
    return run.returncode, said + run.stderr, set(loaded.split())


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_loads_nothing_heavy(command: str | None) -> None:
    status, said, loaded = answer(*([command] if command else []), "--help")
    assert status == 0 and "Usage" in said
    assert not loaded


def test_the_version_is_said_at_once() -> None:
    assert answer("--version") == (0, f"minivos {version('minivos')}\n", set())


TYPING_ERRORS: dict[str, Iterable[str]] = {
    "No such command": ["segmnt"],
    "No such option": ["train", "--minute", "3"],
    "Missing argument": ["segment"],
    "Invalid value for '--side'": ["segment", "a.mp4", "--mask", "b.png", "--side", "large"],
}


@pytest.mark.parametrize(("said", "words"), TYPING_ERRORS.items())
def test_a_typing_error_loads_nothing_heavy(said: str, words: Iterable[str]) -> None:
    status, printed, loaded = answer(*words)
    assert status == 2 and said in printed, printed
    assert not loaded


def test_a_wrong_path_is_refused_without_torch(tmp_path: Path) -> None:
    for words in (["segment", tmp_path / "none.mp4", "--mask", "m.png"], ["eval", tmp_path / "none", tmp_path]):
        status, printed, loaded = answer(*words)
        assert status == 2 and "none" in printed and printed.count("minivos: ") == 1, printed
        assert loaded <= PICTURES


def test_masks_are_scored_without_torch(tmp_path: Path) -> None:
    import numpy as np

    labels = np.zeros((8, 9), np.uint8)
    labels[2:5, 3:6] = 1
    for folder in ("gt", "pred"):
        (tmp_path / folder).mkdir()
        for t in range(3):
            write_mask(tmp_path / folder / f"{t:05}.png", labels)
    status, printed, loaded = answer("eval", tmp_path / "gt", tmp_path / "pred")
    assert status == 0 and "1.000" in printed, printed
    assert loaded <= PICTURES


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bring another OpenMP, which does not say")
def test_threads_wait_passively_where_minivos_comes_before_torch() -> None:
    run = python("import minivos, torch", OMP_DISPLAY_ENV="verbose")
    assert "GOMP_SPINCOUNT = '0'" in run.stderr  # as OpenMP says itself; 300,000 when torch comes first


def test_who_asks_for_another_policy_gets_it() -> None:
    said = python("import minivos, os; print(os.environ['OMP_WAIT_POLICY'])", OMP_WAIT_POLICY="active").stdout
    assert said == "active\n"

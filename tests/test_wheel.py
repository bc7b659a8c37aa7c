"""A wheel, built from the source distribution, works from an empty folder, without the clone."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PARTS = "minivos", "data_samples", "studies", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"
BUILD = "from setuptools.build_meta import build_sdist; build_sdist('dist')"
BUILD_IN_PLACE = "from setuptools.build_meta import build_wheel; build_wheel('in_place')"
NOT_INSTALLED = {"minivos/ruff.toml"}  # what there is in the package for those who write it
LOOK = """\
import minivos
from minivos.evaluation.study import read_effects
from minivos.video.datasets import DavisDataset, samples_root

assert len(read_effects(samples_root().parent / "studies" / "aot_memory.csv"))
assert [len(DavisDataset(samples_root(), split)) for split in ("train", "val", "scenarios")] == [10, 12, 7]
clip = DavisDataset(samples_root(), "scenarios")[0]
beginning = minivos.Clip(clip.frames[:3], {0: clip.masks[0]})
minivos.explore("hst_mini", beginning, "explorer.html")
print(minivos.__file__)
"""
ONE_CLIP = """\
from minivos.video import datasets

every = datasets.DavisDataset
datasets.DavisDataset = lambda *words, **named: [clip for clip in every(*words, **named) if clip.name == "plain"]
from minivos.cli import app

app(["demo", "--model", "hst_mini", "--device", "cpu"])
"""  # all seven would take minutes
Run = Callable[..., str]


def files_of_the_wheel() -> Mapping[str, Path]:
    """What a wheel must hold, under its name there, and where it stands in the clone."""
    names = [path for path in (ROOT / "minivos").rglob("[!.]*") if path.is_file() and "__pycache__" not in path.parts]
    names += [path for path in (ROOT / "data_samples").rglob("*") if path.is_file()]
    names += (ROOT / "studies").glob("*.csv")
    places = {path.relative_to(ROOT).as_posix(): path for path in names}
    return {
        name if name.startswith("minivos/") else f"minivos/{name}": path
        for name, path in places.items()
        if name not in NOT_INSTALLED
    }


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clone = tmp_path_factory.mktemp("clone")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, clone / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, clone)
    return clone


@pytest.fixture(scope="module")
def wheel(clone: Path) -> Path:
    call([sys.executable, "-c", BUILD], clone)
    (source,) = (clone / "dist").glob("*.tar.gz")
    offline = ["--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check"]
    call([sys.executable, "-m", "pip", "wheel", "-q", *offline, "-w", "dist", source], clone)
    (built,) = (clone / "dist").glob("*.whl")
    return built


@pytest.fixture
def run(wheel: Path, tmp_path: Path) -> Run:
    """Run Python in an empty folder, with the package of the wheel."""
    with ZipFile(wheel) as package:  # an installer unpacks it, too
        package.extractall(tmp_path / "installed")
    (tmp_path / "empty").mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    return lambda *words: call([sys.executable, *words], tmp_path / "empty", environment)


def call(words: list, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_has_all_files_and_no_other(wheel: Path) -> None:
    with ZipFile(wheel) as package:
        there = {name for name in package.namelist() if ".dist-info/" not in name}
        expected = files_of_the_wheel()
        assert there == expected.keys()
        assert not [name for name, path in expected.items() if package.read(name) != path.read_bytes()]
    assert wheel.stat().st_size < 20e6  # as docs/elsewhere.md says


@pytest.mark.slow
def test_a_wheel_has_nothing_of_an_earlier_build(clone: Path) -> None:
    (clone / "build/lib/minivos").mkdir(parents=True)
    (clone / "build/lib/minivos/gone.py").touch()
    call([sys.executable, "-c", BUILD_IN_PLACE], clone)
    (built,) = (clone / "in_place").glob("*.whl")
    with ZipFile(built) as package:
        assert {"minivos/gone.py", "minivos/errors.py"} & set(package.namelist()) == {"minivos/errors.py"}


@pytest.mark.slow
def test_a_wheel_works_in_an_empty_folder(run: Run, tmp_path: Path) -> None:
    assert Path(run("-c", LOOK).strip()).is_relative_to(tmp_path / "installed")
    assert (tmp_path / "empty/explorer.html").stat().st_size > 100_000
    assert "sample clips" in run("-m", "minivos.cli", "doctor")


@pytest.mark.slow
def test_the_demo_of_a_wheel_runs_in_an_empty_folder(run: Run, tmp_path: Path) -> None:
    assert "plain" in run("-c", ONE_CLIP)
    assert {path.name for path in (tmp_path / "empty/out").iterdir()} == {"report.html", "explore-plain.html"}

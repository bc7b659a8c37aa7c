"""The set-up files agree: pyproject.toml, constraints.txt, environment.yml, Makefile, CITATION.cff, CHANGELOG.md,
Binder's and the container's.
"""

import json
import os
import re
import shutil
import site
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from house_rules import PAPERS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
PLATFORMS = {"linux": "posix", "darwin": "posix", "win32": "nt"}  # sys_platform: os_name
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:root|work|tmp|home|farm|Users)\b")
REGISTRY_HOST = re.compile(r"py[p]i\.|python[h]osted")


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))


def project() -> dict:
    return pyproject()["project"]


def dependencies() -> list[Requirement]:
    return [Requirement(line) for line in project()["dependencies"] + project()["optional-dependencies"]["test"]]


def constraints() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pins(environment: dict[str, str] | None = None) -> dict[str, list[Version]]:
    """Versions that constraints.txt allows, per package, here or in another marker environment."""
    versions: dict[str, list[Version]] = {}
    for pin in constraints():
        if pin.marker is None or pin.marker.evaluate(environment):
            versions.setdefault(canonicalize_name(pin.name), []).append(Version(exact_version(pin)))
    return versions


def exact_version(pin: Requirement) -> str:
    (clause,) = pin.specifier
    assert clause.operator == "==" and "*" not in clause.version, f"{pin} is not an exact version"
    return clause.version


def every_environment() -> list[dict[str, str]]:
    return [
        {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": platform, "os_name": os_name}
        for python in PYTHONS
        for platform, os_name in PLATFORMS.items()
    ]


def project_files() -> list[Path]:
    """Files under version control or about to be, or every file where there is no git."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        hidden = {".git", ".venv", "out", "runs", "__pycache__"}
        return [path for path in ROOT.rglob("*") if path.is_file() and not hidden & set(path.relative_to(ROOT).parts)]
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf8")
    except UnicodeDecodeError:
        return ""


@pytest.mark.parametrize("environment", every_environment(), ids=lambda e: f"{e['sys_platform']}-{e['python_version']}")
def test_every_dependency_has_one_pin_that_it_accepts(environment: dict[str, str]) -> None:
    allowed = pins(environment)
    for dependency in dependencies():
        if dependency.marker and not dependency.marker.evaluate(environment):
            continue  # this Python goes without it
        versions = allowed.get(canonicalize_name(dependency.name), [])
        assert len(versions) == 1, f"{dependency} has the pins {versions}"
        assert versions[0] in dependency.specifier, f"{dependency} does not accept its pin {versions[0]}"
    assert {name: versions for name, versions in allowed.items() if len(versions) > 1} == {}


def test_what_is_optional_is_installed_for_the_tests() -> None:
    extras = project()["optional-dependencies"]
    assert set(extras) == {"test", "lab", "coco", "imagenet", "live"}
    assert {name for extra in extras.values() for name in extra} == set(extras["test"])


def test_installed_versions_are_the_pinned_ones() -> None:
    found = metadata.distributions(path=site.getsitepackages())  # setuptools, once imported, adds copies it carries
    installed = {canonicalize_name(d.metadata["Name"]): Version(d.version).public for d in found}
    assert "torch" in installed, "found nothing installed: the comparison would be empty"
    wrong = {
        name: f"{installed[name]} installed, {version} pinned"
        for name, (version,) in pins().items()
        if name in installed and installed[name] != str(version)
    }
    assert not wrong, f"{wrong}: run `make test`, which installs under constraints.txt"


def conda_packages(name: str) -> list:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf8"))["dependencies"]


def conda_python(name: str) -> str:
    """The Python of an environment file, such as 3.11."""
    (python,) = [package for package in conda_packages(name) if str(package).startswith("python=")]
    return python.removeprefix("python=")


def test_conda_installs_the_same() -> None:
    assert f"{conda_python('environment.yml')}.0" in SpecifierSet(project()["requires-python"])
    assert conda_packages("environment.yml")[-1] == {"pip": ["-c constraints.txt", "-e .[test]"]}


def test_binder_installs_the_same() -> None:
    assert conda_packages(".binder/environment.yml") == [f"python={conda_python('environment.yml')}", "pip"]
    build = ROOT / ".binder/postBuild"
    assert os.name == "nt" or os.access(build, os.X_OK)
    (install,) = [line for line in build.read_text(encoding="utf8").splitlines() if "pip install" in line]
    packages = re.fullmatch(r"python -m pip install --no-cache-dir -c constraints\.txt -e '\.\[([\w,]+)\]'", install)
    assert packages and {*packages[1].split(",")} <= project()["optional-dependencies"].keys()


def test_the_container_installs_the_same() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf8"))
    assert container["image"].rsplit(":")[-1] == conda_python("environment.yml")
    stamp = re.search(r"^STAMP := (.+)$", (ROOT / "Makefile").read_text(encoding="utf8"), flags=re.MULTILINE)
    assert stamp and container["postCreateCommand"] == f"make {stamp[1]}"
    assert container["customizations"]["vscode"]["settings"] == {"python.defaultInterpreterPath": ".venv/bin/python"}


def test_citation_names_every_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))
    assert citation["title"] == project()["name"]
    assert citation["version"] == project()["version"]
    papers = {(paper["authors"][0]["family-names"], paper["year"]) for paper in citation["references"]}
    assert papers >= {("Yang", 2021), ("Duke", 2021), ("Lan", 2022), ("Yoo", 2023)}
    assert len(papers) == len(citation["references"]) == len(PAPERS)


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf8"), flags=re.MULTILINE)
    assert versions[0] == project()["version"]
    assert versions == sorted(versions, key=Version, reverse=True)


def test_types_are_checked_in_the_package_and_told_to_its_users() -> None:
    settings = pyproject()["tool"]
    assert settings["mypy"]["packages"] == ["minivos"]
    assert settings["mypy"]["check_untyped_defs"] and settings["mypy"]["warn_unused_ignores"]
    assert not settings["mypy"]["implicit_optional"] and "ignore_missing_imports" not in settings["mypy"]
    assert "py.typed" in settings["setuptools"]["package-data"]["minivos"]
    assert (ROOT / "minivos" / "py.typed").is_file()


def test_hooks_run_the_installed_ruff_and_fetch_nothing() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf8"))["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"].split(" --")[0] for hook in repository["hooks"]] == ["ruff check", "ruff format"]
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_test_checks_style_types_units_and_notebooks() -> None:
    plan = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    places = [
        plan.index(f".venv/bin/{part}") for part in ("ruff check", "ruff format", "mypy", "pytest", "pytest --nbval")
    ]
    assert places == sorted(places)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["demo", "test", "lab", "notebooks"])
def test_make_builds_the_environment_when_missing_or_out_of_date(target: str, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)

    def commands() -> str:
        plan = ["make", "--dry-run", "--no-print-directory", target]
        return subprocess.run(plan, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    def date(name: str, seconds: int) -> None:
        os.utime(tmp_path / name, (seconds, seconds))

    assert "-m venv .venv" in commands() and "pip install -c constraints.txt -e '.[test]'" in commands()
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/installed").touch()
    for name, seconds in {"pyproject.toml": 1, "constraints.txt": 1, ".venv/installed": 2}.items():
        date(name, seconds)
    assert "pip install" not in commands()
    for changed in ("pyproject.toml", "constraints.txt"):
        date(changed, 3)
        assert "pip install" in commands()
        date(changed, 1)


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["path of one machine", "registry host"])
def test_nothing_ties_the_project_to_one_machine(pattern: re.Pattern) -> None:
    places = [
        f"{path.relative_to(ROOT)}:{number}: {match.group()}"
        for path in project_files()
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if (match := pattern.search(line))
    ]
    assert not places


def test_the_patterns_find_what_they_should() -> None:
    assert MACHINE_PATH.search("open('" + "/" + "tmp/x.png')")
    assert not MACHINE_PATH.search("../work/out and docs/home/x and ~/work")
    assert REGISTRY_HOST.search("https://" + "py" + "pi.org/simple")

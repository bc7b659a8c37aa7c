"""Seconds until a command answers, here and at an earlier commit.

    python benchmarks/startup.py                     # this checkout
    python benchmarks/startup.py --before a7ee086    # beside that commit, checked out into a temporary folder

Each command runs in a process of its own, here and there in turn; of several rounds the least counts, since what else
the machine does only adds. The last row imports the networks, which no command can work without.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "--version": "--version",
    "--help": "--help",
    "train --help": "train --help",
    "a command that there is not": "segmnt",
    "an option that there is not": "train --minute 3",
    "segment: no such video": "segment none.mp4 --mask none.png",
    "eval: no such folder": "eval none none",
}


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A commit in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "minivos"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", root, commit], cwd=ROOT, check=True)
        try:
            yield root
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", root], cwd=ROOT, check=True)


def seconds(root: Path, words: list[str]) -> float:
    """How long Python takes with these words, with the package that stands in root."""
    began = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run([sys.executable, *words], cwd=root, env=environment, capture_output=True)
    return time.perf_counter() - began


def measure(roots: dict[str, Path], rounds: int) -> None:
    """Print a row for each command, with a column for each checkout."""
    runs = {said: ["-m", "minivos.cli", *words.split()] for said, words in COMMANDS.items()}
    runs["(import minivos.models)"] = ["-c", "import minivos.models"]
    print(f"{'seconds, the least of ' + str(rounds):30}" + "".join(f"{name:>10}" for name in roots))
    for said, words in runs.items():
        spent = [{name: seconds(root, words) for name, root in roots.items()} for _ in range(rounds)]
        print(f"{said:30}" + "".join(f"{min(each[name] for each in spent):10.2f}" for name in roots), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", metavar="COMMIT", help="another commit to measure beside this checkout")
    parser.add_argument("--rounds", type=int, default=3)
    settings = parser.parse_args()
    if settings.before:
        with checkout(settings.before) as root:
            measure({settings.before: root, "here": ROOT}, settings.rounds)
    else:
        measure({"here": ROOT}, settings.rounds)


if __name__ == "__main__":
    main()

"""What each half hour of a training bought, as a table in Markdown, from its log.

    python benchmarks/training_hours.py runs/aot_mini/log.csv [more logs] --minutes 30

J is that of the network's masks on the samples of that time, in training, hard ones among them: it says whether going
on pays, not how good a network is on video that it has not seen.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from itertools import accumulate, groupby
from pathlib import Path
from statistics import fmean

from minivos.errors import InputError

HEAD = "minutes", "steps", "loss", "J", "learning rate", "time for data"


def read_log(path: Path) -> list[dict[str, float]]:
    """The steps of a log.csv; InputError for another file."""
    try:
        with path.open(encoding="utf8") as file:
            steps = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        ends = accumulate(step["seconds"] for step in steps)
        return [step | {"end": end} for step, end in zip(steps, ends, strict=True)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"got {path}, which does not read as a log; expected the log.csv of a training") from error


def by_time(steps: list[dict[str, float]], minutes: float) -> Iterator[tuple[str, ...]]:
    """The lines of the table, one for each stretch of so many minutes."""
    for number, part in groupby(steps, lambda step: int((step["end"] - step["seconds"]) / 60 / minutes)):
        some = list(part)
        began, ended = number * minutes, min((number + 1) * minutes, steps[-1]["end"] / 60)
        data = sum(step["data_seconds"] for step in some) / sum(step["seconds"] for step in some)
        yield (
            f"{began:.0f} to {ended:.0f}",
            str(len(some)),
            f"{fmean(step['loss'] for step in some):.3f}",
            f"{fmean(step['J'] for step in some):.3f}",
            f"{some[-1]['learning_rate']:.0e}",
            f"{100 * data:.0f} %",
        )


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, default=30, help="of a line of the table")
    options = parser.parse_args(words)
    if options.minutes <= 0:
        sys.exit(f"got --minutes {options.minutes}; expected more than 0")
    for path in options.logs:
        try:
            rows = list(by_time(read_log(path), options.minutes))
        except InputError as error:
            sys.exit(str(error))
        print(f"{path}:\n")
        for row in (HEAD, ("---",) * len(HEAD), *rows):
            print(f"| {' | '.join(row)} |")
        print()


if __name__ == "__main__":
    main()

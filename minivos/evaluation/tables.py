"""Tables of numbers: as text, as HTML, as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minivos.video.files import whole_file
from minivos.viewing import page


@dataclass(frozen=True)
class Table:
    """Numbers with a name for each row and column; nan where there is none."""

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[float]]
    decimals: int = 2

    def text(self) -> str:
        """As lines of plain text."""
        first = max(map(len, (self.title, *self.rows)))
        widths = [max(8, len(column)) for column in self.columns]
        lines = [(self.title, self.columns), *self.cells().items()]
        return "\n".join(
            f"{name:{first}}" + "".join(f"  {c:>{w}}" for c, w in zip(row, widths, strict=True))
            for name, row in lines
        )

    def html(self) -> str:
        """As a table of a page."""
        return page.table((self.title, *self.columns), self.cells())

    def cells(self) -> dict[str, list[str]]:
        """The values as they are shown, row by row."""
        return {name: [self.number(value) for value in row] for name, row in self.rows.items()}

    def number(self, value: float) -> str:
        """A value as it is shown."""
        return "" if math.isnan(value) else f"{value:.{self.decimals}f}"


def write_csv(path: str | Path, tables: Iterable[Table]) -> None:
    """One number a line: table, row, column, value. Whole or not at all."""
    with whole_file(path) as part, part.open("w", encoding="utf8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("table", "row", "column", "value"))
        for table in tables:
            for name, row in table.rows.items():
                for column, value in zip(table.columns, row, strict=True):
                    writer.writerow((table.title, name, column, value))

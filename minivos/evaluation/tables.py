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
        first = max(map(len, (*self.rows, self.title)))
        widths = [max(8, len(column)) for column in self.columns]
        cells = [
            (self.title, self.columns),
            *((name, map(self.number, row)) for name, row in self.rows.items()),
        ]
        return "\n".join(
            f"{name:{first}}"
            + "".join(f"  {cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            for name, row in cells
        )

    def html(self) -> str:
        """As a table of a page."""
        rows = {name: map(self.number, row) for name, row in self.rows.items()}
        return page.table((self.title, *self.columns), rows)

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
                writer.writerows(
                    (table.title, name, column, x)
                    for column, x in zip(table.columns, row, strict=True)
                )

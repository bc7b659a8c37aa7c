"""How large the pictures of the notebooks are: `python benchmarks/pictures.py`.

A picture says so itself if `make notebooks` stored it. Tile: the smallest image in a picture. Pixel: how far the least
enlarged frame is enlarged.
"""

import base64
import math
from pathlib import Path

import nbformat

from minivos.viewing.picture import stored_sizes

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def sizes_in(path: Path) -> list[dict[str, str]]:
    """What the pictures of a notebook say of themselves; nothing of those that were not measured."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    pictures = [output.get("data", {}).get("image/png") for cell in cells for output in cell.outputs]
    return [stored_sizes(base64.b64decode(picture)) for picture in pictures if picture]


def least(sizes: list[dict[str, str]], name: str) -> str:
    """The smallest of a size that is a number, or width x height."""
    values = [size[name] for size in sizes if name in size]
    return min(values, key=lambda value: math.prod(map(float, value.split(" x "))), default="-")


if __name__ == "__main__":
    print("| notebook | pictures | measured | smallest tile | smallest text | pixel of a frame | cell |")
    print("|---|---|---|---|---|---|---|")
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        sizes = sizes_in(path)
        measured = sum(map(bool, sizes))
        parts = [least(sizes, name) for name in ("smallest tile", "smallest text", "pixel of a frame", "cell")]
        print(f"| {path.name[:2]} | {len(sizes)} | {measured} | {' | '.join(parts)} |")

"""Write the slide decks of the six sessions: `python teaching/slides.py` fills out/slides/ with N.html and N.pdf.

A deck, teaching/slides/N.md, is Markdown: a line `---` between slides, notes for the speaker after a line `Note:`, a
line `+++` where a second column begins. Nothing is typed twice; figures, numbers and lines come from where they stand:

    {{figure 02 cell24 "what it shows"}}          a picture that a cell stored, or of several a later one:
    {{figure 02 cell06 2 "what it shows"}}        its second
    {{printed 02 cell17 "from" "to"}}             what a cell printed, whole or between two patterns
    {{number 02 cell26 "trained: J&F ([\\d.]+)"}}  the first group of a pattern in what it printed
    {{code 02 cell12 "def embed" "# AOT Eq. 5"}}  lines of a cell, from one pattern to another; with one, that line
    {{formula 02 cell09}}                         the displayed formula of a Markdown cell; a number chooses another
    {{table 07 cell-32 "AOT|SST"}}                of its table the rows whose beginning fits a pattern
    {{study aot_memory "what it shows"}}          the effects in studies/aot_memory.csv, drawn and printed
    {{diagram aot "what it shows"}}               docs/diagrams/aot.svg

Of a Markdown cell `printed` and `number` take the text. The pages have a little CSS and JavaScript of our own:
reveal.js would have to be fetched for each build, and for our keys, notes and print it would not save a line.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import textwrap
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import mistune
from latex2mathml.converter import convert

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))
from browser import find_chromium  # noqa: E402
from formulas import with_mathml  # noqa: E402

DECKS = ROOT / "teaching/slides"
DIRECTIVE = re.compile(r"\{\{(.+?)\}\}", re.DOTALL)
KEYS = {
    "→ ↓ PageDown Space": "next slide",
    "← ↑ PageUp": "slide before",
    "Home End": "first, last slide",
    "S": "notes of the speaker",
    "P": "all slides, to print",
    "D": "dark or light",
    "?": "this list",
}
MARKDOWN = mistune.create_markdown(escape=False, plugins=["table"])


class SlideError(ValueError):
    """A deck asks for something that is not there."""


@dataclass(frozen=True)
class Slide:
    """The Markdown of a slide, and of what its speaker says."""

    columns: tuple[str, ...]
    notes: str

    @property
    def title(self) -> str:
        found = re.search(r"^#+ (.+)", self.columns[0], re.MULTILINE)
        return found[1] if found else ""


def read_deck(text: str) -> list[Slide]:
    """The slides of a deck."""
    slides = []
    for part in re.split(r"^---$", text, flags=re.MULTILINE):
        shown, _, notes = part.partition("\nNote:")
        columns = re.split(r"^\+\+\+$", shown, flags=re.MULTILINE)
        slides.append(Slide(tuple(column.strip() for column in columns), notes.strip()))
    return slides


@cache
def cells_of(notebook: str) -> dict[str, dict]:
    """The cells of a notebook, by their ids."""
    paths = list((ROOT / "notebooks").glob(f"{notebook}_*.ipynb"))
    if len(paths) != 1:
        raise SlideError(f"there is no notebook {notebook}")
    return {cell["id"]: cell for cell in json.loads(paths[0].read_text(encoding="utf8"))["cells"]}


def cell(notebook: str, name: str) -> dict:
    if name not in cells_of(notebook):
        raise SlideError(f"notebook {notebook} has no cell {name}")
    return cells_of(notebook)[name]


def said(notebook: str, name: str) -> str:
    """What a cell printed; the text of a Markdown cell."""
    here = cell(notebook, name)
    if here["cell_type"] == "markdown":
        return "".join(here["source"])
    return "".join("".join(output.get("text", "")) for output in here["outputs"])


def search(pattern: str, text: str) -> re.Match:
    if not (found := re.search(pattern, text, re.MULTILINE)):
        raise SlideError(f"nothing there fits {pattern}")
    return found


def lines_between(text: str, start: str = "", stop: str = "") -> str:
    """The lines from the first that `start` fits to the first after it that `stop` fits."""
    lines = text.strip("\n").splitlines()
    first = text.strip("\n")[: search(start, text.strip("\n")).start()].count("\n")
    rest = "\n".join(lines[first:])
    last = rest[: search(stop, rest).start()].count("\n") if stop else 0 if start else len(lines)
    return textwrap.dedent("\n".join(lines[first : first + last + 1])).strip("\n")


def typed(text: str, kind: str, beside: str = "") -> str:
    """Lines in a type that is as large as they, and those beside them, allow."""
    longest = max(map(len, f"{text}\n{beside}".splitlines()))
    marked = (f"<mark>{line}</mark>" if re.search(r"# \w+ Eq\.", line) else line for line in escape(text).splitlines())
    return f'<pre class="{kind}" style="--columns:{longest}">{chr(10).join(marked)}</pre>'


def picture(data: str, says: str, kind: str = "png") -> str:
    if not re.search(r"\w\W+\w", says):
        raise SlideError('needs a text that says what it shows, in "..."')
    return f'<figure><img src="data:image/{kind};base64,{data}" alt="{escape(says)}"></figure>'


def figure(notebook: str, name: str, *which: str) -> str:
    *number, says = which or ("",)
    shown = [output["data"]["image/png"] for output in cell(notebook, name).get("outputs", [])
             if "image/png" in output.get("data", {})]  # fmt: skip
    at = int(number[0]) if number else 1
    if not 1 <= at <= len(shown):
        raise SlideError(f"cell {name} of notebook {notebook} has {len(shown)} figures, not a figure {at}")
    return picture("".join(shown[at - 1]).replace("\n", ""), says)


def printed(notebook: str, name: str, start: str = "", stop: str = "") -> str:
    if not said(notebook, name).strip():
        raise SlideError(f"cell {name} of notebook {notebook} printed nothing")
    return typed(lines_between(re.sub(r"\n\n+", "\n", said(notebook, name)), start, stop), "printed")


def number(notebook: str, name: str, pattern: str) -> str:
    found = search(pattern, said(notebook, name))
    if not found.groups():
        raise SlideError(f"{pattern} has no group")
    return escape(found[1])


def code(notebook: str, name: str, start: str = "", stop: str = "") -> str:
    return typed(lines_between("".join(cell(notebook, name)["source"]), start, stop), "code")


def formula(notebook: str, name: str, which: str = "1") -> str:
    found = re.findall(r"\$\$(.+?)\$\$", said(notebook, name), re.DOTALL)
    if not 1 <= int(which) <= len(found):
        raise SlideError(f"cell {name} of notebook {notebook} has {len(found)} formulas, not a number {which}")
    parts = re.split(r"(?:\\qquad\s*)+(?!\s|\\qquad|\\text\{\(Eq)", found[int(which) - 1].strip())
    return "".join(f'<div class="formula">{convert(part.strip(), display="block")}</div>' for part in parts)


def table(notebook: str, name: str, rows: str = "") -> str:
    for lines in map(str.splitlines, re.findall(r"(?:^\|.*\|\n?)+", said(notebook, name), re.MULTILINE)):
        if kept := [line for line in lines[2:] if re.match(rf"\| (?:{rows})", line)]:
            return MARKDOWN(with_mathml("\n".join([*lines[:2], *kept])))
    raise SlideError(f"cell {name} of notebook {notebook} has no table with a row that begins with {rows}")


def study(name: str, says: str = "") -> str:
    from minivos.evaluation.study import UNIT, describe_cases, draw_effects, read_effects
    from minivos.viewing.picture import png_bytes

    path = ROOT / f"studies/{name}.csv"
    if not path.exists():
        raise SlideError(f"there is no study {name}")
    effects = read_effects(path)
    drawn = picture(b64encode(png_bytes(draw_effects(effects), dpi=150)).decode(), says)
    told = [f"{case}\n{rows}" for case, rows in describe_cases(effects).items()]
    cases = "".join(typed(case, "printed", "\n".join(told)) for case in told)
    return f'{drawn}<div class="cases">{cases}</div><p>{escape(UNIT)}</p>'


def diagram(name: str, says: str = "") -> str:
    path = ROOT / f"docs/diagrams/{name}.svg"
    if not path.exists():
        raise SlideError(f"there is no diagram {name}")
    return picture(b64encode(path.read_bytes()).decode(), says, "svg+xml")


WORDS: dict[str, Callable[..., str]] = {
    each.__name__: each for each in (figure, printed, number, code, formula, table, study, diagram)
}


def expand(directive: str) -> str:
    """The HTML that a directive stands for."""
    try:
        word, *given = shlex.split(directive)
        if word not in WORDS:
            raise SlideError(f"unknown word {word}; there are {', '.join(WORDS)}")
        return WORDS[word](*given)
    except (TypeError, ValueError, re.error) as error:
        raise SlideError(str(error)) from None


def html(markdown: str, place: str) -> str:
    """Markdown with directives and formulas as HTML; SlideError that names the place."""
    found: list[str] = []

    def keep(part: re.Match) -> str:
        try:
            found.append(expand(part[1]))
        except SlideError as error:
            raise SlideError(f"{place}, {part[0]}: {error}") from None
        return f"{'BLOCK' if found[-1].startswith('<') else 'INLINE'}{len(found) - 1}X"

    page = MARKDOWN(with_mathml(DIRECTIVE.sub(keep, markdown)))
    page = re.sub(r"<p>((?:BLOCK\d+X\s*)+)</p>", r"\1", page)
    return re.sub(r"(?:BLOCK|INLINE)(\d+)X", lambda part: found[int(part[1])], page)


def page_of(number: int, text: str, plan: str = "") -> str:
    """A deck as one page; where a plan of its session stands beside it, its list of keys leads there."""
    parts = []
    slides = read_deck(text)
    for at, slide in enumerate(slides, start=1):
        place = f"deck {number}, slide {at} ({slide.title})"
        if not slide.title or not slide.notes:
            raise SlideError(f"{place}: needs a title and notes")
        heading = re.match(r"\s*(#+ .+\n?)", slide.columns[0])
        if not heading:
            raise SlideError(f"{place}: begins with its title")
        columns = [slide.columns[0][heading.end() :], *slide.columns[1:]]
        body = "".join(f'<div class="column">{html(column, place)}</div>' for column in columns)
        parts.append(
            f'<section class="slide" id="{at}" tabindex="-1" aria-label="slide {at} of {len(slides)}">'
            f'<div class="box">{html(heading[1], place)}<div class="columns">{body}</div>'
            f"<footer>{escape(slides[0].title)} · {at}/{len(slides)}</footer></div>"
            f'<aside class="notes">{html(slide.notes, place)}</aside></section>'
        )
    keys = "".join(
        f"<li>{' '.join(f'<kbd>{key}</kbd>' for key in names.split())} {does}" for names, does in KEYS.items()
    )
    link = f'<p><a href="{escape(plan)}">Plan of this session</a></p>' if plan else ""
    style, script = ((DECKS.parent / f"slides.{kind}").read_text(encoding="utf8") for kind in ("css", "js"))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(slides[0].title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<style>{style}</style></head><body><main>{chr(10).join(parts)}</main>"
        '<nav><button id="back" aria-label="slide before">‹</button>'
        '<button id="on" aria-label="next slide">›</button>'
        '<button popovertarget="help" aria-label="keys">?</button></nav>'
        f'<aside id="help" popover aria-label="keys"><ul>{keys}</ul>{link}</aside>'
        f"<script>{script}</script></body></html>\n"
    )


def write_pdf(page: Path) -> Path | None:
    """The PDF of a page beside it, by Chromium; None where there is no Chromium."""
    browser = find_chromium()
    if browser is None:
        return None
    pdf = page.with_suffix(".pdf")
    with TemporaryDirectory() as profile:
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
             "--no-pdf-header-footer", f"--print-to-pdf={pdf.resolve()}", page.resolve().as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
    return pdf


def main(folder: Path, numbers: list[int], pdf: bool = True) -> None:
    """Write the decks with these numbers, all if none is given."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(DECKS.glob("*.md")):
        if numbers and int(path.stem) not in numbers:
            continue
        page = folder / f"{path.stem}.html"
        page.write_text(page_of(int(path.stem), path.read_text(encoding="utf8")), encoding="utf8")
        written = write_pdf(page) if pdf else None
        print(page, written or ("" if not pdf else "(no PDF: there is no Chromium)"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", type=int, nargs="*", help="of decks, such as 2 3; all if not given")
    parser.add_argument("--folder", type=Path, default=Path("out/slides"), help="out/slides if not given")
    parser.add_argument("--html", action="store_true", help="write no PDF")
    settings = parser.parse_args()
    try:
        main(settings.folder, settings.numbers, not settings.html)
    except SlideError as error:
        sys.exit(str(error))

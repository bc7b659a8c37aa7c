"""An HTML page of one file that needs no internet connection."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from minivos.errors import InputError
from minivos.video.files import check_regular, exists, whole_file

STYLE = """
:root { color-scheme: light dark;
  --page: #fff; --card: #f5f6f8; --ink: #1c1d21; --quiet: #5a5e66; --line: #d6d9df }
@media (prefers-color-scheme: dark) {
  :root { --page: #17181c; --card: #212329; --ink: #e8e9ec; --quiet: #a7abb4; --line: #3a3d45 }
}
body { max-width: 58rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif;
  background: var(--page); color: var(--ink) }
h1, h2 { line-height: 1.2 }
section { margin: 1.5rem 0; padding: 1rem; border-radius: .6rem; background: var(--card) }
section h2 { margin-top: 0 }
.wide { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child { text-align: left }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem }
dt, figcaption { color: var(--quiet) }
dd { margin: 0 }
figure { margin: 1rem 0 }
img { display: block; width: 100%; height: auto; border-radius: .3rem; background: #fff }
.look img { width: auto; max-width: 100% }
.panels { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; text-align: center }
"""

# The browser itself then refuses to load anything, or to send anything away
ALONE = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
)

FRAMED = ALONE.replace('">', "; frame-src 'self' file:\">")  # but pages beside it, in frames


def check_replaceable(path: Path, title: str) -> None:
    """InputError if there is anything at the path but a page of ours with this title."""
    if exists(path) and f"<title>{escape(title)}" not in _beginning(path):
        raise InputError(f"{path} is no page of ours; expected a new file: choose another --out")


def _beginning(path: Path) -> str:
    with check_regular(path).open("rb") as file:
        return file.read(2000).decode("utf8", "replace")


def write_page(
    path: str | Path, title: str, heading: str, body: str, head: str = "", style: str = ""
) -> None:
    """Write a page around `body`, which is HTML; whole or not at all.

    `head` is HTML for its head, `style` is CSS beside that of all pages. InputError where no file
    can be written.
    """
    body = f"<h1>{escape(heading)}</h1>\n{body}"
    with whole_file(path) as part:
        part.write_text(page_around(title, body, head, STYLE + style), encoding="utf-8")


def page_around(title: str, body: str, head: str, style: str) -> str:
    """A page around `body`, with `head` in its head, which are HTML, and `style`, which is CSS."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
{head}
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def base64(content: bytes) -> str:
    """Bytes as letters, for a page."""
    return b64encode(content).decode("ascii")


def data_url(kind: str, content: bytes) -> str:
    """An image of a kind (png, jpeg, webp) as an address that holds it."""
    return f"data:image/{kind};base64,{base64(content)}"


def inside_html(value: object) -> str:
    """JSON that ends no element, whatever names it holds."""
    return json.dumps(value).replace("<", "\\u003c")


def beside(name: str) -> str:
    """The text of a file in the folder of this one."""
    return Path(__file__).with_name(name).read_text("utf8")


def fact_list(facts: Mapping[str, object]) -> str:
    """Names and what is said of them."""
    items = (
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items()
    )
    return f"<dl>{''.join(items)}</dl>"


def table(columns: Iterable[str], rows: Mapping[str, Iterable[str]]) -> str:
    """A row of cells, which are HTML, for each name; the first of `columns` is over the names."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = ""
    for name, cells in rows.items():
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        body += f'<tr><th scope="row">{escape(name)}</th>{row}</tr>'
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{whole}</div>'

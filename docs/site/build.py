"""Make the site, a folder that any web server or a USB stick can serve: `python docs/site/build.py` writes out/site/.

Notebooks are shown as they were stored, and never run. What Sphinx reads is gathered in a folder first: there
notebooks, pages and sources have the places that they have here, so that the links between them hold; conf.py says the
rest. The gallery takes a minute or two; --no-gallery leaves it out. The exam and its key are for teachers; --with-exam
shows them, too.
"""

import argparse
import os
import re
import runpy
import shutil
import sys
from base64 import b64decode
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten

import nbformat
import yaml
from links import broken_links, read
from markdown_it import MarkdownIt
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from sphinx.cmd.build import build_main

from minivos.course.editions import student, with_drawings
from minivos.video.files import prepare_output

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path += [str(ROOT / "docs"), str(ROOT / "teaching")]
import export  # noqa: E402
import sides  # noqa: E402
import slides  # noqa: E402
from formulas import with_mathml  # noqa: E402

PAPERS = {
    "aot": ("AOT", "Associating Objects with Transformers", "02_aot_identity_bank", "03_aot_lstt"),
    "sst": ("SST", "Sparse Spatiotemporal Transformers", "04_sst_sparse_attention"),
    "sitvos": ("SITVOS", "Siamese Network with Interactive Transformer", "05_sitvos_feature_interaction"),
    "hst": ("HST", "Hierarchical Spatiotemporal Transformers", "06_hst_hierarchical_read"),
}
EXAM = ["teaching/exam.md", "teaching/exam_key.md"]
NOT_SEARCHED = "---\nnosearch: true\n---\n\n"
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]+)\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
ASKS = re.compile(r"\*\*Predict\s+first")  # a card explains the words, in italics
CELL = re.compile(r"`(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)`")
EXPLORER = re.compile(
    r'<img src="data:image/png;base64,(?P<poster>[^"]+)" alt="(?P<alt>[^"]*)">\s*'
    r'<iframe srcdoc="(?P<page>[^"]*)" title="(?P<title>[^"]*)".*?</iframe>',
    re.DOTALL,
)


def code_page(path: Path) -> str:
    """The name of the page that shows a file of the package."""
    return f"code/{'_'.join(path.relative_to(ROOT).with_suffix('').parts)}.md"


class Gathering:
    """What Sphinx reads, in a folder; links to what is `left_out` become plain text."""

    def __init__(self, folder: Path, left_out: list[str]) -> None:
        self.folder = folder
        self.left_out = [ROOT / name for name in left_out]
        self.code: set[Path] = set()  # files of the package that some page links to

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf8")

    def copy(self, path: Path, name: str = "") -> None:
        to = self.folder / (name or path.relative_to(ROOT))
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)

    def linked(self, text: str, place: Path) -> str:
        """Markdown of a file in the folder `place`; links lead to the page that shows what they name."""

        def replace(link: re.Match) -> str:
            to, words = Path(os.path.normpath(place / link["path"])), link["text"].replace("\n", " ")
            if to in self.left_out:
                return words
            if to.parent == slides.DECKS:
                deck = os.path.relpath(ROOT / f"slides/{to.stem}.html", place)
                return f'<a href="{deck}">{words}</a>'
            if to.suffix == ".yaml":
                to = to.with_suffix(".md")
            if to.suffix == ".py" and to.is_file() and to.is_relative_to(ROOT / "minivos"):
                self.code.add(to)
                to = ROOT / code_page(to)
            return f"{link['image']}[{words}]({os.path.relpath(to, place)}{link['anchor'] or ''})"

        return LINK.sub(replace, text)

    def page(self, path: Path, title: str = "", searched: bool = True) -> None:
        """A Markdown file, in its place, under another title if one is given."""
        text = path.read_text(encoding="utf8")
        if title:
            text = re.sub("^# .+", f"# {title}", text)
        self.write(str(path.relative_to(ROOT)), ("" if searched else NOT_SEARCHED) + self.linked(text, path.parent))

    def plan(self, path: Path) -> None:
        """A session's plan: it begins with its slides, and the cells it names are links."""
        text = path.read_text(encoding="utf8")
        kit = (ROOT / "teaching/README.md").read_text(encoding="utf8").splitlines()
        row = next(line for line in kit if f"sessions/{path.name}" in line)
        notebooks = [ROOT / name for name in re.findall(r"notebooks/\w+\.ipynb", row)]
        places = {cell.id: name for name in reversed(notebooks) for cell in nbformat.read(name, as_version=4).cells}

        def replace(found: re.Match) -> str:
            if (cell := found["name"]) not in places:
                return found[0]
            page = os.path.relpath(places[cell], path.parent).replace(".ipynb", ".html")
            return f'<a href="{page}#{cell}"><code>{cell}</code></a>'

        title, rest = CELL.sub(replace, self.linked(text, path.parent)).split("\n\n", 1)
        deck = f'<a href="../../slides/{path.name[0]}.html">Slides of this session</a>'
        self.write(str(path.relative_to(ROOT)), f"{title}\n\n{deck}\n\n{rest}")

    def notebook(self, path: Path) -> None:
        """A notebook in its place, with its exercises to download.

        Its explorers become pages of their own, which it frames. Other answers to a prediction begin hidden.
        """
        notebook = nbformat.read(path, as_version=4)
        self.write(f"extra/student/{path.name}", nbformat.writes(student(with_drawings(notebook, ROOT))))
        count, asked, cells = 0, False, []
        for cell, after in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
            cells.append(new_markdown_cell(f'<a class="cell" id="{cell.id}" href="#{cell.id}">{cell.id}</a>'))
            cells.append(cell)
            if cell.cell_type == "markdown":
                asked = asked or bool(ASKS.search(cell.source))
                cell.source = self.linked(cell.source, path.parent)
                continue
            cell.source = cell.source.replace("# NBVAL_IGNORE_OUTPUT\n", "")
            cell.metadata["mystnb"] = {"image": {"alt": f"Picture: {caption(after)}"}}
            for output in cell.outputs:
                if found := EXPLORER.search(output.get("data", {}).get("text/html", "")):
                    count, asked = count + 1, False
                    output.data["text/html"] = self.explorer(found, f"{path.stem}_{count}")
            cell.metadata["tags"] = ["hide-output"] if asked and cell.outputs else []
            asked = asked and not cell.outputs
        download = f'<a href="../student/{path.name}" download>Download this notebook</a>'
        title, rest = cells[1].source.split("\n", 1)
        cells[1].source = f"{title}\n\n{download} to work in it: nothing is run yet, the exercises are open.\n{rest}"
        notebook.cells = cells
        self.write(str(path.relative_to(ROOT)), nbformat.writes(notebook))

    def explorer(self, found: re.Match, name: str) -> str:
        """An explorer's page and poster in files; the HTML that shows both."""
        self.write(f"extra/explorers/{name}.html", unescape(found["page"]))
        (self.folder / f"extra/explorers/{name}.png").write_bytes(b64decode(found["poster"]))
        return (
            f'<img src="../explorers/{name}.png" alt="{found["alt"]}">'
            f'<p><a href="../explorers/{name}.html">Open the explorer on a page of its own</a></p>'
            f'<iframe class="explorer" src="../explorers/{name}.html" title="{found["title"]}" loading="lazy"></iframe>'
        )

    def paper(self, name: str) -> None:
        """The page of a paper, and the one with its equations."""
        short, long, *notebooks = PAPERS[name]
        self.write(f"papers/{name}_side_by_side.md", sides.page(short))
        cited = reference(long)
        lines = [f"* [The paper]({cited['url']}), {cited['year']}: *{cited['title']}*"]
        lines.append(f"* [Reading guide](../teaching/guides/{name}.md): what to read first, what is unclear")
        lines += [f"* [Notebook {stem[:2]}](../notebooks/{stem}.ipynb) takes it apart" for stem in notebooks]
        lines.append(f"* [Its equations]({name}_side_by_side.md) beside the lines that compute them")
        path = ROOT / f"minivos/{name}.py"
        self.write(f"papers/{name}.md", f"# {short}: {long}\n\n{chr(10).join(lines)}\n\n{listing(path)}")
        self.toctree(f"papers/{name}.md", [f"{name}_side_by_side"])

    def toctree(self, name: str, pages: list[str], caption: str = "", hidden: bool = True) -> None:
        """Append a part of the table of contents to a page."""
        settings = f":caption: {caption}\n" * bool(caption) + ":hidden:\n" * hidden
        with (self.folder / name).open("a", encoding="utf8") as file:
            file.write(f"\n```{{toctree}}\n{settings}:maxdepth: 2\n\n{chr(10).join(pages)}\n```\n")


def reference(title: str) -> dict:
    """The paper in CITATION.cff whose title has these words."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))["references"]
    return next(each for each in cited if title in each["title"])


def caption(cell: NotebookNode | None) -> str:
    """How the cell below a picture begins, as plain text."""
    if cell is None or cell.cell_type != "markdown":
        return "what the code above draws"
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", cell.source.strip())
    return shorten(re.sub(r"[*`$#\\{}]", "", text), 160, placeholder=" ...")


def listing(path: Path) -> str:
    """A file of the package, as Markdown."""
    source = path.read_text(encoding="utf8")
    return (
        f"## minivos/{path.relative_to(ROOT / 'minivos').as_posix()}\n\n``````{{code-block}} python\n{source}``````\n"
    )


def in_line(text: str) -> str:
    """HTML of a line of Markdown with formulas."""
    return MarkdownIt().renderInline(with_mathml(text))


def raw(html: str) -> str:
    """HTML in Markdown that Sphinx leaves as it is."""
    return f"``````{{raw}} html\n{html}\n``````\n"


def quiz(items: list[dict]) -> str:
    """The quiz as a page: whoever chooses an option reads whether it is right, and why."""
    parts = [f'# Quiz\n\n{export.HOW} For Moodle there is <a href="../quiz.xml" download>the same as a file</a>.\n']
    parts.append(raw(f"<style>{export.STYLE}</style>"))
    for session, title in export.SESSIONS.items():
        chosen = [item for item in items if item["session"] == session]
        parts += [f"## Session {session}: {title}\n", raw(export.questions(chosen))]
    return "\n".join([*parts, raw(export.count(items))])


def predictions(items: list[dict]) -> str:
    """The answers to every "Predict first" as a page."""
    parts = ["# Predict first: the answers\n\nGuess in the notebook first, then open the answer.\n"]
    notebook = None
    for item in items:
        if item["notebook"] != notebook:
            notebook = item["notebook"]
            parts.append(f"## Notebook {notebook}\n")
            [page] = (path.stem for path in (ROOT / "notebooks").glob(f"{notebook}_*.ipynb"))
        answer = in_line(item["answer"])
        details = f'<details class="answer"><summary>Answer</summary><p>{answer}</p></details>'
        cell = f'<a href="../notebooks/{page}.html#{item["cell"]}">in the notebook</a>'
        parts.append(f"{item['question']} ({cell})\n\n{raw(details)}")
    return "\n".join(parts)


def gather(folder: Path, gallery: Path | None, exam: bool) -> None:
    """Fill a new folder with all that Sphinx reads."""
    it = Gathering(folder, [] if exam else EXAM)
    index = (HERE / "index.md").read_text(encoding="utf8")
    index = re.sub("^<!-- gallery -->(.*\n)", r"\1" if gallery else "", index, flags=re.MULTILINE)
    it.write("index.md", it.linked(index, ROOT))
    it.write("api.md", (HERE / "api.md").read_text(encoding="utf8"))
    it.copy(HERE / "conf.py", "conf.py")
    for name in ("site.css", "site.js"):
        it.copy(HERE / name, f"_static/{name}")
    (folder / "extra").mkdir()
    for picture in [ROOT / "docs/segmented.png", ROOT / "docs/explorer.webp", *(ROOT / "docs/diagrams").glob("*.svg")]:
        it.copy(picture)
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in notebooks:
        it.notebook(path)
    for name in PAPERS:
        it.paper(name)
    it.page(ROOT / "README.md", title="Install and use")
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        it.page(ROOT / name, searched=False)
    guides, plans = (sorted((ROOT / "teaching" / name).glob("*.md")) for name in ("guides", "sessions"))
    kit = ["teaching/README.md", "teaching/projects.md", *(EXAM if exam else [])]
    for path in [*sorted((ROOT / "docs").glob("*.md")), *guides, *(ROOT / name for name in kit)]:
        it.page(path)
    for path in plans:
        it.plan(path)
    it.toctree("teaching/README.md", [f"{path.parent.name}/{path.stem}" for path in [*plans, *guides]])
    items = export.read_quiz(ROOT / "teaching/quiz.yaml")
    export.write_moodle(items, folder / "extra/quiz.xml")
    it.write("teaching/quiz.md", quiz(items))
    answers = yaml.safe_load((ROOT / "teaching/predict_first.yaml").read_text(encoding="utf8"))
    it.write("teaching/predict_first.md", predictions(answers))
    kit[1:1] = ["teaching/quiz.md", "teaching/predict_first.md"]
    for path in slides.DECKS.glob("*.md"):
        [plan] = (ROOT / "teaching/sessions").glob(f"{path.stem}_*.md")
        deck = path.read_text(encoding="utf8"), f"../teaching/sessions/{plan.stem}.html"
        it.write(f"extra/slides/{path.stem}.html", slides.page_of(int(path.stem), *deck))
    if gallery:
        it.write("gallery.md", gallery_page(gallery))
        for page in gallery.glob("*.html"):
            back = page.read_text(encoding="utf8").replace('href="index.html"', 'href="../gallery.html"')
            it.write(f"extra/gallery/{page.name}", back)
    for path in sorted(it.code):
        it.write(code_page(path), f"{NOT_SEARCHED}# {path.relative_to(ROOT)}\n\n{listing(path)}")

    it.toctree("index.md", [str(path.relative_to(ROOT)) for path in notebooks], "The course")
    it.toctree("index.md", [f"papers/{name}" for name in PAPERS], "The papers")
    it.toctree("index.md", kit, "Teaching")
    words = [f"docs/{name}" for name in ("glossary", "equations", "exercises", "training", "weights")]
    it.toctree("index.md", [*(["gallery"] if gallery else []), *words, "api", "code/index"], "Reference")
    it.toctree("index.md", ["README", "docs/elsewhere", "CONTRIBUTING", "CHANGELOG"], "The package")
    it.write("code/index.md", "# Files of the package\n\nThose that the pages speak of, beside the papers' own.\n")
    it.toctree("code/index.md", [Path(code_page(path)).stem for path in sorted(it.code)], hidden=False)


def gallery_page(gallery: Path) -> str:
    """The cards of the gallery as a page of the site."""
    cards = "".join(re.findall(r"<section>.*?</section>", (gallery / "index.html").read_text("utf8"), re.DOTALL))
    cards = cards.replace('<a href="', '<a href="gallery/')
    return (
        "# Gallery: where do they look?\n\nSixteen looks into trained networks. Each picture opens the attention "
        f"explorer where it was taken.\n\n{raw(cards)}"
    )


def build(out: Path, gallery: Path | None = None, exam: bool = False) -> None:
    """Write the site to a folder. SystemExit where Sphinx warns, or where a link leads nowhere."""
    prepare_output(out, overwrite=True, kind="site")
    with TemporaryDirectory() as folder:  # MyST-NB writes beside what Sphinx makes, too
        sources, made = Path(folder, "sources"), Path(folder, "site")
        sources.mkdir()
        gather(sources, gallery, exam)
        code = build_main(["-q", "-W", "--keep-going", "-d", f"{folder}/doctrees", str(sources), str(made)])
        shutil.copytree(made, out, dirs_exist_ok=True)
    pages = read(out)
    broken = broken_links(pages)
    print("\n".join(broken) or f"{len(pages)} pages. Open this one in a browser: {(out / 'index.html').resolve()}")
    if code or broken:
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("out/site"), help="out/site if not given")
    parser.add_argument("--no-gallery", action="store_true", help="leave the gallery out")
    parser.add_argument("--with-exam", action="store_true", help="show exam and key, for a site that teachers see")
    given = parser.parse_args()
    pictures = None if given.no_gallery else given.folder.with_name("gallery")
    if pictures:
        runpy.run_path(str(ROOT / "docs/gallery.py"))["main"](pictures)
    build(given.folder, pictures, given.with_exam)

"""Make the site, a folder that any web server or a USB stick can serve: `python docs/site/build.py` writes out/site/.

Notebooks are shown as they were stored, and never run. What Sphinx reads is gathered in a folder first: there
notebooks, pages and sources have the places that they have here, so that the links between them hold; conf.py says the
rest. The gallery takes a minute or two; --no-gallery leaves it out.
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

import nbformat
import yaml
from links import broken_links, read
from markdown_it import MarkdownIt
from sphinx.cmd.build import build_main

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
DECK = re.compile(r"\[(?P<text>[^\]]+)\]\((?:\.\./)?slides/(?P<number>\d)\.md\)")
LINK = re.compile(r"\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
EXPLORER = re.compile(
    r'<img src="data:image/png;base64,(?P<poster>[^"]+)" alt="(?P<alt>[^"]*)">\s*'
    r'<iframe srcdoc="(?P<page>[^"]*)" title="(?P<title>[^"]*)".*?</iframe>',
    re.DOTALL,
)


def code_page(path: Path) -> str:
    """The name of the page that shows a file of the package."""
    return f"code/{'_'.join(path.relative_to(ROOT).with_suffix('').parts)}.md"


class Gathering:
    """What Sphinx reads, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
        """Markdown of a file in the folder `place`; links to sources lead to their pages."""

        def replace(link: re.Match) -> str:
            to = Path(os.path.normpath(place / link["path"]))
            if to.suffix == ".py" and to.is_file() and to.is_relative_to(ROOT / "minivos"):
                self.code.add(to)
                return f"]({os.path.relpath(ROOT / code_page(to), place)})"
            return link[0]

        decks = os.path.relpath(ROOT / "slides", place)
        text = DECK.sub(lambda deck: f'<a href="{decks}/{deck["number"]}.html">{deck["text"]}</a>', text)
        return LINK.sub(replace, text)

    def page(self, path: Path) -> None:
        """A Markdown file, in its place; a session's plan begins with a link to its slides."""
        text = path.read_text(encoding="utf8")
        if path.parent.name == "sessions":
            text = text.replace("\n\n", f"\n\n[Slides of this session](../slides/{path.name[0]}.md)\n\n", 1)
        self.write(str(path.relative_to(ROOT)), self.linked(text, path.parent))

    def notebook(self, path: Path) -> None:
        """A notebook in its place; its explorers become pages of their own, which it frames."""
        notebook = nbformat.read(path, as_version=4)
        section = count = 0
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                headings = re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)
                section = headings[-1] if headings else section
                cell.source = self.linked(cell.source, path.parent)
                continue
            cell.metadata["mystnb"] = {"image": {"alt": f"Picture drawn by the code above: {section}"}}
            for output in cell.get("outputs", []):
                if found := EXPLORER.search(output.get("data", {}).get("text/html", "")):
                    count += 1
                    output.data["text/html"] = self.explorer(found, f"{path.stem}_{count}")
        self.write(str(path.relative_to(ROOT)), nbformat.writes(notebook))

    def explorer(self, found: re.Match, name: str) -> str:
        """An explorer's page and poster in files; the HTML that shows both."""
        self.write(f"extra/explorers/{name}.html", unescape(found["page"]))
        (self.folder / f"extra/explorers/{name}.png").write_bytes(b64decode(found["poster"]))
        return (
            f'<img src="../explorers/{name}.png" alt="{found["alt"]}">'
            f'<iframe class="explorer" src="../explorers/{name}.html" title="{found["title"]}" loading="lazy"></iframe>'
            f'<p><a href="../explorers/{name}.html">The explorer on a page of its own</a></p>'
        )

    def paper(self, name: str) -> None:
        """The page of a paper, and the one with its equations."""
        short, long, *notebooks = PAPERS[name]
        self.write(f"papers/{name}_side_by_side.md", sides.page(short))
        learn = "\n".join(f"* [notebook {stem[:2]}](../notebooks/{stem}.ipynb) takes it apart" for stem in notebooks)
        guide = f"teaching/guides/{name}.md"
        if (ROOT / guide).is_file():
            learn = f"* [reading guide](../{guide}): what to read first, and where the text is unclear\n{learn}"
        path = ROOT / f"minivos/{name}.py"
        self.write(
            f"papers/{name}.md",
            f"# {short}: {long}\n\n{learn}\n* [its equations]({name}_side_by_side.md) beside the lines that compute "
            f"them\n* [its names](../api.md) in the package\n\n{listing(path)}",
        )

    def toctree(self, name: str, caption: str, pages: list[str]) -> None:
        """Append a part of the table of contents to a page."""
        with (self.folder / name).open("a", encoding="utf8") as file:
            file.write(f"\n```{{toctree}}\n:caption: {caption}\n:hidden:\n:maxdepth: 2\n\n{chr(10).join(pages)}\n```\n")


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
        answer = in_line(item["answer"])
        details = f'<details class="answer"><summary>Answer</summary><p>{answer}</p></details>'
        parts.append(f"{item['question']}\n\n{raw(details)}")
    return "\n".join(parts)


def gather(folder: Path, gallery: Path | None) -> None:
    """Fill a new folder with all that Sphinx reads."""
    it = Gathering(folder)
    it.write("index.md", it.linked((HERE / "index.md").read_text(encoding="utf8"), ROOT))
    it.write("api.md", (HERE / "api.md").read_text(encoding="utf8"))
    it.copy(HERE / "conf.py", "conf.py")
    it.copy(HERE / "site.css", "_static/site.css")
    (folder / "extra").mkdir()
    for picture in [ROOT / "docs/segmented.png", ROOT / "docs/explorer.webp", *(ROOT / "docs/diagrams").glob("*.svg")]:
        it.copy(picture)
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in notebooks:
        it.notebook(path)
    for name in PAPERS:
        it.paper(name)
    about = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    kit = [path for path in sorted((ROOT / "teaching").rglob("*.md")) if path.parent.name != "slides"]
    for path in [*sorted((ROOT / "docs").glob("*.md")), *about, *kit]:
        it.page(path)
    teaching = [str(path.relative_to(ROOT)) for path in kit]
    items = export.read_quiz(ROOT / "teaching/quiz.yaml")
    export.write_moodle(items, folder / "extra/quiz.xml")
    it.write("teaching/quiz.md", quiz(items))
    answers = yaml.safe_load((ROOT / "teaching/predict_first.yaml").read_text(encoding="utf8"))
    it.write("teaching/predict_first.md", predictions(answers))
    teaching += ["teaching/quiz.md", "teaching/predict_first.md"]
    for path in slides.DECKS.glob("*.md"):
        it.write(f"extra/slides/{path.stem}.html", slides.page_of(int(path.stem), path.read_text(encoding="utf8")))
    if gallery:
        it.write("gallery.md", gallery_page(gallery))
        for page in gallery.glob("*.html"):
            back = page.read_text(encoding="utf8").replace('href="index.html"', 'href="../gallery.html"')
            it.write(f"extra/gallery/{page.name}", back)
    for path in sorted(it.code):
        it.write(code_page(path), f"# {path.stem}.py\n\n{listing(path)}")

    it.toctree("index.md", "The course", [str(path.relative_to(ROOT)) for path in notebooks])
    it.toctree("index.md", "The papers", [f"papers/{name}{page}" for name in PAPERS for page in ("", "_side_by_side")])
    it.toctree("index.md", "Teaching", sorted(teaching, key=lambda name: (name != "teaching/README.md", name)))
    words = [f"docs/{name}" for name in ("glossary", "equations", "exercises", "training", "weights", "elsewhere")]
    it.toctree("index.md", "Reference", [*words, "api", *(["gallery"] if gallery else []), "code/index"])
    it.toctree("index.md", "The package", ["Install and use <README>", "CONTRIBUTING", "CHANGELOG"])
    it.write("code/index.md", "# Files of the package\n\nThose that the pages speak of, beside the papers' own.\n")
    it.toctree("code/index.md", "Files", [Path(code_page(path)).stem for path in sorted(it.code)])


def gallery_page(gallery: Path) -> str:
    """The cards of the gallery as a page of the site."""
    cards = "".join(re.findall(r"<section>.*?</section>", (gallery / "index.html").read_text("utf8"), re.DOTALL))
    cards = cards.replace('<a href="', '<a href="gallery/')
    return (
        "# Where do they look?\n\nSixteen looks into trained networks. Each picture opens the attention explorer "
        f"where it was taken.\n\n{raw(cards)}"
    )


def build(out: Path, gallery: Path | None = None) -> None:
    """Write the site to a folder. SystemExit where Sphinx warns, or where a link leads nowhere."""
    prepare_output(out, overwrite=True, kind="site")
    with TemporaryDirectory() as folder:  # MyST-NB writes beside what Sphinx makes, too
        sources, made = Path(folder, "sources"), Path(folder, "site")
        sources.mkdir()
        gather(sources, gallery)
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
    given = parser.parse_args()
    pictures = None if given.no_gallery else given.folder.with_name("gallery")
    if pictures:
        runpy.run_path(str(ROOT / "docs/gallery.py"))["main"](pictures)
    build(given.folder, pictures)

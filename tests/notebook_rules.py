"""The rules of a notebook: each takes one and yields a sentence for every place that breaks it."""

import ast
import base64
import copy
import re
import symtable
from collections.abc import Callable, Iterator

import nbformat
from nbformat import NotebookNode

from minivos.viewing.picture import stored_sizes

MAX_LINES_PER_CELL = 25
MAX_BYTES = 4_000_000
CELLS_BETWEEN_PICTURES = 4
EXERCISES = range(3, 6)
MIN_TEXT = 9  # pixels

FRONT = (
    "| **Afterwards you can** |",
    "| **Time** |",
    "| **Needs** |",
    "The whole idea in one sentence",
    "*Predict first* marks",
)
END = "Exercises", "Limits", "Where to go on"

MISSING_ALT_TEXT = re.compile(r'!\[\s*\]|<img\b(?![^>]*\balt=["\'][^"\']*[^"\'\s])', re.IGNORECASE)
# What an explorer shows of itself: a picture in words, and a page that may load nothing, both inside the notebook
EXPLORER = re.compile(
    r'<img src="data:image/png;base64,[A-Za-z0-9+/=]+" alt="[^"]*\w[^"]*">\n'
    r'<iframe srcdoc="[^"<>]*content=&quot;default-src &#x27;none&#x27;;[^"<>]*" '
    r'title="minivos explore" style="[^"<>]*" loading="lazy"></iframe>'
)
LOST = re.compile(r"(Object \d+ is not seen after frame \d+\n)+")  # the one thing that `track` has to say
SHAPE = re.compile(r"\(\d+, \d+|torch\.Size")
EXERCISE = re.compile(r"\bExercise (\d+)")
UNREPEATABLE = {
    "an address": re.compile(r"\b0x[0-9a-fA-F]{4,}"),
    "a path": re.compile(r"(?<![\w.<])/(?:[\w.-]+/)+|\b[A-Za-z]:\\|~/"),
    "a date": re.compile(r"\b\d{4}-\d{2}-\d{2}\b"),
    "a time": re.compile(r"\b\d{1,2}:\d{2}\b|\b\d+(?:\.\d+)? ?(?:ms|s|sec|seconds?|min|minutes?)\b|\d ?(?:it/s|fps)\b"),
    "a version": re.compile(r"\b\d+\.\d+\.\d+"),
    "more than two decimals": re.compile(r"\b\d+\.\d{3,}|\d[eE]-\d"),
}


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lines_without_imports(cell: NotebookNode) -> list[str]:
    """An import may take several lines."""
    nodes = [node for node in ast.parse(cell_code(cell)).body if isinstance(node, ast.Import | ast.ImportFrom)]
    imports = {number for node in nodes for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return [line for number, line in enumerate(cell.source.splitlines(), start=1) if number not in imports]


def prose(cells: list[NotebookNode]) -> str:
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def texts(cell: NotebookNode) -> Iterator[str]:
    """What a cell printed or showed as text."""
    for output in cell.outputs:
        yield output.get("text", "") or output.get("data", {}).get("text/plain", "")


def nbval_marks(cell: NotebookNode) -> set[str]:
    """Comments and tags by which a cell tells nbval to treat it specially, such as `NBVAL_SKIP`."""
    tags = {tag.upper().replace("-", "_") for tag in cell.metadata.get("tags", [])}
    comments = {line.strip().lstrip("# ") for line in cell.source.splitlines() if line.strip().startswith("#")}
    return {mark for mark in tags | comments if mark.startswith("NBVAL_")}


def is_short(notebook: NotebookNode) -> Iterator[str]:
    """Imports do not count."""
    longest = max((len(lines_without_imports(cell)) for cell in code_cells(notebook)), default=0)
    counts = {
        "lines in one cell": (longest, MAX_LINES_PER_CELL),
        "bytes": (len(nbformat.writes(notebook).encode()), MAX_BYTES),
    }
    for what, (count, limit) in counts.items():
        if count > limit:
            yield f"{count} {what}, at most {limit}"


def is_laid_out_like_the_others(notebook: NotebookNode) -> Iterator[str]:
    for part in FRONT:
        if part not in notebook.cells[0].source:
            yield f"the first cell lacks {part}"
    headings = re.findall(r"^## (\d*) ?(.*)", prose(notebook.cells), re.MULTILINE)
    sections = [number for number, _ in headings if number]
    if sections != [str(n) for n in range(1, len(sections) + 1)]:
        yield f"the sections have the numbers {', '.join(sections)}"
    if headings[len(sections) :] != [("", name) for name in END]:
        yield f"after the numbered sections come {headings[len(sections) :]}, not {', '.join(END)}"


def describes_its_pictures(notebook: NotebookNode) -> Iterator[str]:
    for picture in MISSING_ALT_TEXT.findall(prose(notebook.cells)):
        yield f"{picture} has no alt text"


def ran_from_top_to_bottom(notebook: NotebookNode) -> Iterator[str]:
    for expected, cell in enumerate(code_cells(notebook), start=1):
        if cell.execution_count != expected:
            yield f"code cell {expected} has the execution count {cell.execution_count}"


def ran_without_error(notebook: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(code_cells(notebook), start=1):
        if any(output.output_type == "error" for output in cell.outputs):
            yield f"code cell {number} ended in an error"


def is_explorer(output: NotebookNode) -> bool:
    return EXPLORER.fullmatch(output.get("data", {}).get("text/html", "")) is not None


def stores_only_text_png_and_explorers(notebook: NotebookNode) -> Iterator[str]:
    if "widgets" in notebook.metadata:
        yield "the metadata hold the state of widgets"
    for number, cell in enumerate(code_cells(notebook), start=1):
        for output in cell.outputs:
            if output.get("name") == "stderr" and not LOST.fullmatch(output.text):
                yield f"code cell {number} wrote to stderr: {output.text[:80]}"
            allowed = {"text/plain", "image/png"} | ({"text/html"} if is_explorer(output) else set())
            for kind in output.get("data", {}).keys() - allowed:
                yield f"code cell {number} shows {kind}"


def shows_something_often(notebook: NotebookNode) -> Iterator[str]:
    """Of the lesson; the cells of exercises show something once they are answered."""
    silent = 0
    for number, cell in enumerate(code_cells(notebook), start=1):
        if any(tag.startswith("exercise:") for tag in cell.metadata.get("tags", [])):
            continue
        silent = 0 if shows_picture_or_shape(cell) else silent + 1
        if silent == CELLS_BETWEEN_PICTURES:
            yield f"code cells {number - silent + 1} to {number} show no picture and no shape"


def shows_picture_or_shape(cell: NotebookNode) -> bool:
    picture = any("image/png" in output.get("data", {}) or is_explorer(output) for output in cell.outputs)
    return picture or any(SHAPE.search(text) for text in texts(cell))


def ends_with_exercises(notebook: NotebookNode) -> Iterator[str]:
    last_third = notebook.cells[-max(1, len(notebook.cells) // 3) :]
    numbers = sorted({int(number) for number in EXERCISE.findall(prose(last_third))})
    if len(numbers) not in EXERCISES or numbers != list(range(1, len(numbers) + 1)):
        yield f"the last third has the exercises {numbers}; it needs 3 to 5, called Exercise 1, Exercise 2, ..."


def is_compared_by_nbval(notebook: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(code_cells(notebook), start=1):
        if "NBVAL_SKIP" in nbval_marks(cell):
            yield f"code cell {number} is never run by the tests"


def repeats_exactly(notebook: NotebookNode) -> Iterator[str]:
    """Holds what nbval compares; a cell marked NBVAL_IGNORE_OUTPUT may print how long it took."""
    for number, cell in enumerate(code_cells(notebook), start=1):
        if "NBVAL_IGNORE_OUTPUT" in nbval_marks(cell):
            continue
        if any(map(is_explorer, cell.outputs)):
            yield f"code cell {number} shows an explorer, whose weights differ a little between machines"
        for what, pattern in UNREPEATABLE.items():
            for text in texts(cell):
                if match := pattern.search(text):
                    yield f"code cell {number} shows {what}: {match.group()}"


def computes_on_the_device(notebook: NotebookNode) -> Iterator[str]:
    """Beside a GPU every network works there: it is moved to DEVICE, which pick_device found, and trains there.

    A line that says `# on the CPU: why` is spared.
    """
    sources = [cell_code(cell) for cell in code_cells(notebook)]
    trees = [ast.parse(source) for source in sources]
    makers = {"create_model", *own_networks(trees)}
    found = False
    for number, (tree, source) in enumerate(zip(trees, sources, strict=True), start=1):
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        moved = {inner for call in calls if moves(call) for inner in ast.walk(call.func)}
        for call in calls:
            name, line = called(call), source.splitlines()[call.lineno - 1]
            if "# on the CPU: " in line:
                continue
            if name in makers and call not in moved:
                yield f"code cell {number}: {name}(...) is not followed by .to(DEVICE)"
            given = [named(keyword.value) for keyword in call.keywords if keyword.arg == "device"]
            if name == "train" and given != ["DEVICE"]:
                yield f"code cell {number}: train(...) without device=DEVICE"
            found = found or name in makers or name == "train"
    set_to = [node.value for tree in trees for node in tree.body if isinstance(node, ast.Assign) and sets_device(node)]
    if found and [called(value) for value in set_to] != ["pick_device"]:
        yield "DEVICE = pick_device() does not stand in it once"


def cell_code(cell: NotebookNode) -> str:
    """The Python of a cell: its magics left out."""
    return "\n".join("" if line.startswith("%") else line for line in cell.source.splitlines())


def own_networks(trees: list[ast.Module]) -> set[str]:
    """Classes that a notebook derives from VOSNetwork, one from another."""
    names = {"VOSNetwork"}
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in classes:
        if names & {named(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases}:
            names.add(node.name)
    return names - {"VOSNetwork"}


def named(node: ast.AST) -> str:
    """The last part of a name: `c` of `a.b.c`; nothing if it is none."""
    return getattr(node, "attr", getattr(node, "id", ""))


def called(node: ast.AST) -> str:
    """The last part of the name of what is called."""
    return named(node.func) if isinstance(node, ast.Call) else ""


def moves(call: ast.Call) -> bool:
    """Whether a call is `something.to(DEVICE)`."""
    return called(call) == "to" and [named(argument) for argument in call.args] == ["DEVICE"]


def sets_device(node: ast.Assign) -> bool:
    """Whether a statement sets DEVICE."""
    return any(named(target) == "DEVICE" for target in node.targets)


def symbols_are_told_once(notebook: NotebookNode) -> Iterator[str]:
    """The first cell has a table of letters, a row for each."""
    *_, table = re.split(r"^\| letter \|.*", notebook.cells[0].source, flags=re.MULTILINE | re.IGNORECASE)
    rows = re.findall(r"^\| (.+?) \|", table, re.MULTILINE) if table != notebook.cells[0].source else []
    letters = [letter for row in rows for letter in re.findall(r"\$[^$]+\$|`[^`]+`|^\w$", row)]
    if not rows:
        yield "the first cell lacks a table | letter | meaning |"
    for letter in sorted({letter for letter in letters if letters.count(letter) > 1}):
        yield f"{letter} has two rows in the table of letters"


def cells_run_again(notebook: NotebookNode) -> Iterator[str]:
    """No cell gives a new value to a name that an earlier cell takes from before: that cell would see the later value.

    Imports are left out.
    """
    needs: dict[str, int] = {}  # name -> the last cell that takes it from before
    for number, cell in enumerate(code_cells(notebook), start=1):
        taken, given = taken_and_given(ast.parse(cell_code(cell)).body)
        for name in sorted(given & needs.keys() - {"_"}):
            yield f"code cell {number} gives {name} a new value, which code cell {needs[name]} needs"
        needs.update(dict.fromkeys(taken, number))


def taken_and_given(statements: list[ast.stmt]) -> tuple[set[str], set[str]]:
    """Names that statements take from before them, and names that they give a value."""
    taken: set[str] = set()
    given: set[str] = set()
    for statement in statements:
        parts = [part for name in ("body", "orelse", "finalbody") for part in getattr(statement, name, [])]
        compound = isinstance(statement, ast.For | ast.While | ast.With | ast.If | ast.Try) and parts
        for part in head(statement) if compound else [statement]:
            here, bound = in_one(part)
            taken |= here - given - (bound if isinstance(part, ast.While | ast.If | ast.Try) else set())
            given |= bound
        if compound:
            inside, bound = taken_and_given(parts)
            taken |= inside - given
            given |= bound
    return taken, given


def head(statement: ast.stmt) -> list[ast.stmt]:
    """What a statement with a body does without it: `for x in f(x)` begins with `x = f(x)`, and so does `with`."""
    if isinstance(statement, ast.For):
        return [ast.Assign([statement.target], statement.iter, lineno=0)]
    if isinstance(statement, ast.With):
        begun = [(item.optional_vars or ast.Name("_"), item.context_expr) for item in statement.items]
        return [ast.Assign([target], value, lineno=0) for target, value in begun]
    bare = copy.deepcopy(statement)
    for name in ("body", "orelse", "finalbody"):
        if getattr(bare, name, []):
            setattr(bare, name, [ast.Pass()])
    return [bare]


def in_one(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """Names of the module that a statement, with all functions in it, reads; and those that it binds, imports apart."""
    table = symtable.symtable(ast.unparse(statement), "cell", "exec")
    read = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    inner = table.get_children()
    while inner:
        scope = inner.pop()
        read |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
        inner += scope.get_children()
    bound = {s.get_name() for s in table.get_symbols() if s.is_assigned() and not s.is_imported()}
    return read, bound


def has_pictures_one_can_see(notebook: NotebookNode) -> Iterator[str]:
    """Of the sizes that a picture says it has; `make notebooks` measures all of them."""
    for number, cell in enumerate(code_cells(notebook), start=1):
        for sizes in map(stored_sizes, pngs(cell)):
            if float(sizes.get("smallest text", MIN_TEXT)) < MIN_TEXT:
                yield f"code cell {number} shows text of {sizes['smallest text']} pixels"
            if sizes.get("titles that collide"):
                yield f"code cell {number} shows titles that collide: {sizes['titles that collide']}"


def pngs(cell: NotebookNode) -> Iterator[bytes]:
    """The pictures that a cell shows, as the content of files."""
    for output in cell.outputs:
        if (png := base64.b64decode(output.get("data", {}).get("image/png", ""))).startswith(b"\x89PNG"):
            yield png


RULES: list[Callable[[NotebookNode], Iterator[str]]] = [
    is_short,
    is_laid_out_like_the_others,
    describes_its_pictures,
    ran_from_top_to_bottom,
    ran_without_error,
    stores_only_text_png_and_explorers,
    shows_something_often,
    ends_with_exercises,
    is_compared_by_nbval,
    repeats_exactly,
    computes_on_the_device,
    symbols_are_told_once,
    cells_run_again,
    has_pictures_one_can_see,
]

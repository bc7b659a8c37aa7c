"""The rules of the house, read from the source: who may import whom, what every public name carries, how a paper reads.

`benchmarks/house.py` prints the measures among them for any checkout.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = "minivos"
MAX_LINES = 450  # of a module; a paper file is as long as its paper needs
MAX_LINES_TO_READ = 3600  # papers + nn + tracker
MAX_PLUMBING = 1 / 3  # of the code lines of a paper file
MAX_COLUMNS = 100
ROOT = Path(__file__).parents[1]


def papers_in(root: Path) -> list[str]:
    """The files of the package in root that hold a network: one for each paper."""
    files = sorted((root / PACKAGE).glob("*.py"))
    return [path.stem for path in files if re.search(r"^class \w+\(VOSNetwork\b", path.read_text("utf8"), re.M)]


PAPERS = papers_in(ROOT)
FLOORS = {
    "errors": 0,
    "nn": 1,
    "video": 2,
    "synthetic": 3,
    **dict.fromkeys(PAPERS, 4),
    "saved_tracks": 4,
    "speed": 4,
    "models": 5,
    "tracker": 5,
    "propagation": 6,
    "official": 6,
    "viewing": 7,
    "training": 8,
    "evaluation": 9,
    "course": 10,
    "cli": 11,
}
PAPERS_IMPORT = "errors", "nn"
OUR_OWN = "Our own initialisation"  # heading of the end of a paper file
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def dotted_name(path: Path, root: Path) -> str:
    """Name of the module at path, such as `minivos.nn.attention`, for a package that stands in root."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """File or folder of the package that a module belongs to; the package's own `__init__` is the room ''."""
    return module.removeprefix(PACKAGE).strip(".").split(".")[0]


def forbidden_imports(tree: ast.Module, module: str, is_folder: bool = False) -> Iterator[str]:
    """Imports of a module that do not go down to a lower floor or stay in its own folder."""
    here = room(module)
    if here not in FLOORS:
        yield f"{module} stands on no floor; give it one in FLOORS"
        return
    for line, imported in imported_modules(tree, module, is_folder):
        there = room(imported)
        if there not in FLOORS:
            yield f"line {line}: {imported or PACKAGE} stands on no floor; import the module that defines the name"
        elif there != here and FLOORS[there] >= FLOORS[here]:
            yield f"line {line}: {here} (floor {FLOORS[here]}) imports {there} (floor {FLOORS[there]})"
        elif here in PAPERS and there not in PAPERS_IMPORT:
            yield f"line {line}: {here} is a paper and imports {there}; a paper imports {', '.join(PAPERS_IMPORT)} only"


def imported_modules(tree: ast.Module, module: str, is_folder: bool) -> Iterator[tuple[int, str]]:
    """Line and name of everything a module imports from the package, relative imports resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = import_source(node, module, is_folder)
            names = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == PACKAGE)


def import_source(node: ast.ImportFrom, module: str, is_folder: bool) -> str:
    """Absolute name of X in `from X import ...`."""
    if node.level == 0:
        return node.module
    folder = module.split(".") if is_folder else module.split(".")[:-1]
    parents = folder[: len(folder) + 1 - node.level]
    return ".".join([*parents, node.module] if node.module else parents)


def public_definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions, classes and methods, with their dotted names; functions inside functions are left out."""
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node.body, f"{prefix}{node.name}.")


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public names without a docstring."""
    for name, node in public_definitions(tree.body):
        if not ast.get_docstring(node):
            yield f"line {node.lineno}: {name} has no docstring"


def unannotated(tree: ast.Module) -> Iterator[str]:
    """Arguments and results of public functions without a type."""
    for name, node in public_definitions(tree.body):
        if not isinstance(node, Function):
            continue
        untyped = [argument.arg for argument in arguments(node) if argument.annotation is None]
        if node.returns is None:
            untyped.append("its result")
        if untyped:
            yield f"line {node.lineno}: {name} gives no type for {', '.join(untyped)}"


def arguments(function: Function) -> list[ast.arg]:
    """Arguments of a function, `self` and `cls` left out."""
    spec = function.args
    named = spec.posonlyargs + spec.args + spec.kwonlyargs
    starred = [argument for argument in (spec.vararg, spec.kwarg) if argument is not None]
    return [argument for argument in named if argument.arg not in ("self", "cls")] + starred


def paper_files(root: Path) -> list[Path]:
    """The files of the papers in the package that stands in root."""
    return [root / PACKAGE / f"{paper}.py" for paper in papers_in(root)]


def files_to_read(root: Path) -> list[Path]:
    """What a reader of the networks reads: papers, nn and tracker."""
    return [*paper_files(root), *sorted((root / PACKAGE / "nn").glob("*.py")), root / PACKAGE / "tracker.py"]


def count_lines(paths: Iterable[Path]) -> int:
    """Lines of all files together, blank ones too."""
    return sum(len(path.read_text(encoding="utf8").splitlines()) for path in paths)


def code_lines(source: str) -> set[int]:
    """Numbers of the lines that hold code: not blank, not only a comment, not docstring."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for t in tokens if t.type not in layout for line in range(t.start[0], t.end[0] + 1)}
    return lines - lines_of(docstrings(ast.parse(source)))


def docstrings(tree: ast.Module) -> Iterator[ast.stmt]:
    """The docstrings of a module, its classes and its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | Definition) and ast.get_docstring(node) is not None:
            yield node.body[0]


def lines_of(nodes: Iterable[ast.AST]) -> set[int]:
    """Numbers of all lines that the nodes stand on, decorators included."""
    lines: set[int] = set()
    for node in nodes:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        lines.update(range(first, node.end_lineno + 1))
    return lines


def plumbing_lines(source: str) -> set[int]:
    """Code lines that check, record, import or print, and say nothing about the paper.

    They are: imports; `__all__`; `__post_init__` and functions called check... or _check...; an `if` whose body only
    raises; `raise`; calls to check_... and record...; the block under `if __name__ == "__main__"`. Presets, which are
    class methods, are about the paper whatever they hold.
    """
    tree = ast.parse(source)
    presets = [node for node in ast.walk(tree) if is_class_method(node)]
    plumbing = [part for node in ast.walk(tree) for part in plumbing_in(node)]
    return (lines_of(plumbing) - lines_of(presets)) & code_lines(source)


def plumbing_in(node: ast.AST) -> list[ast.AST]:
    """The node itself, or the parts of it, if they are plumbing."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Raise():
            return [node]
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return [node]
        case ast.FunctionDef(name=name) if name == "__post_init__" or re.match("_?check", name):
            return [node]
        case ast.If() if is_main_block(node):
            return [node]
        case ast.If(body=body) if all(isinstance(inner, ast.Raise) for inner in body):
            return [node.test, *body] if node.orelse else [node]
        case ast.Call(func=func) if re.match("_?check_|_?record", called_name(func)):
            return [node]
    return []


def is_main_block(node: ast.AST) -> bool:
    """Whether a statement is `if __name__ == "__main__"`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def is_class_method(node: ast.AST) -> bool:
    """Whether a node is a function under @classmethod."""
    return isinstance(node, Function) and any(ast.unparse(d) == "classmethod" for d in node.decorator_list)


def called_name(func: ast.expr) -> str:
    """Last part of the name of what is called: `c` in `a.b.c()`."""
    return getattr(func, "attr", getattr(func, "id", ""))


def plumbing_share(source: str) -> float:
    """Share of the code lines that are plumbing, in [0, 1]."""
    return len(plumbing_lines(source)) / max(1, len(code_lines(source)))


def misplaced_initialisation(source: str) -> Iterator[str]:
    """What stands on the wrong side of the heading "Our own initialisation" of a paper file.

    Before it, or where there is none, no function is called start_by_copying...; after it there are functions only,
    and the block under `if __name__ == "__main__"`.
    """
    lines = source.splitlines()
    headings = [n for n, line in enumerate(lines, start=1) if line.startswith("#") and OUR_OWN in line]
    heading = min(headings, default=len(lines) + 1)
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.name.startswith("start_by_copying") and node.lineno < heading:
            yield f"line {node.lineno}: {node.name} stands before the heading '# {OUR_OWN}'"
    for node in tree.body:
        if node.lineno > heading and not isinstance(node, Function) and not is_main_block(node):
            yield f"line {node.lineno}: after the heading '# {OUR_OWN}' stands more than functions"


def compound_statements(source: str) -> list[int]:
    """Lines at which a statement begins that holds two thoughts or more.

    A thought is each comprehension or generator, each conditional expression, each lambda, calls nested in each
    other's arguments four deep or more, and `and` mixed with `or`. Of a statement with a body only the head counts.
    """
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    return sorted(node.lineno for node in statements if sum(map(thoughts, head(node))) > 1)


def head(statement: ast.stmt) -> list[ast.AST]:
    """The parts of a statement that are not statements themselves."""
    bodies = ast.stmt | ast.ExceptHandler | ast.match_case
    return [node for node in ast.iter_child_nodes(statement) if not isinstance(node, bodies)]


def thoughts(expression: ast.AST) -> int:
    """How many thoughts an expression holds, see `compound_statements`."""
    nodes = list(ast.walk(expression))
    loops = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    single = sum(isinstance(node, loops | ast.IfExp | ast.Lambda) for node in nodes)
    return single + (call_depth(expression) >= 4) + any(mixes_and_with_or(node) for node in nodes)


def call_depth(node: ast.AST) -> int:
    """How deep calls stand in each other's arguments: 2 for `f(g(x))`, 1 for `x.f().g()`."""
    if isinstance(node, ast.Call):
        inside = max(map(call_depth, [*node.args, *node.keywords]), default=0)
        return max(call_depth(node.func), 1 + inside)
    return max(map(call_depth, ast.iter_child_nodes(node)), default=0)


def mixes_and_with_or(node: ast.AST) -> bool:
    """Whether `and` has `or` among its terms, or the other way round."""
    return isinstance(node, ast.BoolOp) and any(isinstance(term, ast.BoolOp) for term in node.values)

"""The rules of the house, read from the source: who may import whom, and what every public name carries."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "minivos"
MAX_LINES = 450
FLOORS = {
    "errors": 0,
    "nn": 1,
    "video": 2,
    "synthetic": 3,
    "aot": 4,
    "sst": 4,
    "sitvos": 4,
    "hst": 4,
    "models": 5,
    "tracker": 5,
    "official": 6,
    "viewing": 7,
    "training": 8,
    "evaluation": 9,
    "cli": 10,
}
PAPERS = "aot", "sst", "sitvos", "hst"
PAPERS_IMPORT = "errors", "nn"
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

"""Every numbered equation of a paper stands at the line that computes it, has its test, and is in docs/equations.md."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# equations: file, test file, what stands at the marked line or the one above, test
TRACKER = "minivos/tracker.py", "tests/test_tracker.py"
ATTENTION = "minivos/nn/attention.py", "tests/nn/test_attention.py"
AOT = "minivos/aot.py", "tests/papers/test_aot.py"
SST = "minivos/sst.py", "tests/papers/test_sst.py"
SPARSE = "minivos/sst.py", "tests/papers/test_sparse.py"
SITVOS = "minivos/sitvos.py", "tests/papers/test_sitvos.py"
HST = "minivos/hst.py", "tests/papers/test_hst.py"
TABLE = {
    "AOT Eq. 1": (
        *TRACKER,
        "if len(scores) > 1",
        "test_groups_of_one_object_are_a_pass_per_object_merged_by_soft_aggregation",
    ),
    "AOT Eq. 2": (*ATTENTION, "dropout(weights", "test_attention_is_the_weighted_mean_of_the_values"),
    "AOT Eq. 3": (*AOT, "self.embed", "test_the_identity_embedding_is_masks_times_assignment_times_bank"),
    "AOT Eq. 4": (*AOT, "self.value(content", "test_values_carry_the_identities_of_their_cells"),
    "AOT Eq. 5": (*AOT, "einsum(assignment, logits", "test_read_selects_the_logits_of_the_assigned_identities"),
    "AOT Eq. 6": (*AOT, "attend(q, k, v", "test_long_term_attention_reads_all_kept_frames"),
    "AOT Eq. 7": (*AOT, "softmax", "test_short_term_attention_equals_a_loop_over_cells_and_offsets"),
    "SST Eq. 1": (*SST, "self.encoder(", "test_the_network_adds_positions_to_the_cells_of_the_buffer"),
    "SST Eq. 2": (*SST, "self.place(", "test_the_network_adds_positions_to_the_cells_of_the_buffer"),
    "SST Eq. 3": (
        *SST,
        "for layer in self.layers",
        "test_a_layer_is_attention_then_feed_forward_each_normalised_after_its_shortcut",
    ),
    "SST Eq. 4": (*SPARSE, "for number in", "test_affinity_is_the_strongest_link_to_an_object_s_earlier_cells"),
    "SST Eq. 5, 6": (
        *SPARSE,
        "scaled_dot_product",
        "test_values_and_gradients_are_those_of_dense_attention_under_a_mask",
    ),
    "SST Eq. 7, 10": (
        *SPARSE,
        "for _ in range(steps)",
        "test_a_cell_that_differs_in_all_coordinates_is_reached_by_six_routes",
    ),
    "SST Eq. 8, 9": (*SPARSE, "carry_along(lines", "test_one_step_of_a_route_is_attention_without_softmax"),
    "SITVOS Eq. 1": (*SITVOS, "attend(q", "test_attention_compares_projections_and_takes_the_mean_of_values"),
    "SITVOS Eq. 2": (
        *SITVOS,
        "norm(self.last_read",
        "test_the_last_read_is_normalised_and_goes_to_the_decoder_beside_the_query",
    ),
    "SITVOS Eq. 3": (*SITVOS, "from_query", "test_interaction_takes_in_both_directions_from_what_was_before"),
    "SITVOS Eq. 4": (*SITVOS, "from_memory", "test_interaction_takes_in_both_directions_from_what_was_before"),
    "HST Eq. 1, 2, 4": (*HST, "scaled_dot_product", "test_the_read_is_dense_attention_under_the_chosen_cells"),
    "HST Eq. 3, 5": (*HST, "[own, read]", "test_the_read_is_dense_attention_under_the_chosen_cells"),
}


# A marker is the name of a paper and its numbers: "AOT Eq. 3", "XMem Eq. 2, 4". Two capitals or more make a name, so
# that "See Eq. 3" is prose; a network whose name has fewer is marked in capitals.
PART = "[A-Za-z0-9+-]*"
NAME = rf"(?<![\w+-]){PART}[A-Z]{PART}[A-Z]{PART}"
MARKER = re.compile(rf"({NAME}) Eq\. (\d+(?:, \d+)*)")


def markers(text: str) -> list[str]:
    """The equations that a text marks, each by itself: "AOT Eq. 2, 4" gives "AOT Eq. 2" and "AOT Eq. 4"."""
    return [f"{paper} Eq. {number}" for paper, numbers in MARKER.findall(text) for number in numbers.split(", ")]


EQUATIONS = {equation: row for key, row in TABLE.items() for equation in markers(key)}


def marked(source: str, equation: str) -> list[str]:
    """The lines that carry the marker of an equation, each after the line before it."""
    lines = ["", *source.splitlines()]
    return [f"{lines[i - 1]}\n{line}" for i, line in enumerate(lines) if equation in markers(line)]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_each_equation_stands_where_the_table_says(equation):
    file, _, computes, _ = EQUATIONS[equation]
    lines = marked((ROOT / file).read_text(), equation)
    assert any(computes in line for line in lines), f"{file} marks {equation} at {lines or 'no line'}"


@pytest.mark.parametrize("equation", EQUATIONS)
def test_each_equation_has_its_test(equation):
    _, file, _, name = EQUATIONS[equation]
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_no_marker_is_missing_from_the_table():
    assert {e for path in (ROOT / "minivos").rglob("*.py") for e in markers(path.read_text())} == set(EQUATIONS)


def rows_of(page: str) -> dict[str, tuple[str, str]]:
    """{equation: (file, notebook)} of a table as docs/equations.md has it, both from the root."""
    rows = {}
    for line in page.splitlines():
        if re.match(rf"\| {MARKER.pattern} \|", line):
            file, notebook = re.findall(r"\]\(\.\./(.+?)\)", line)
            rows |= dict.fromkeys(markers(line.split("|")[1]), (file, notebook))
    return rows


def listed() -> dict[str, tuple[str, str]]:
    """The rows of docs/equations.md."""
    return rows_of((ROOT / "docs" / "equations.md").read_text())


def mentioned(text: str) -> set[int]:
    """The numbers in "Eq. 2", "Eq. 3 and 4", "Eq. 8, 9" and "Eq. 5 to 7"."""
    numbers = set()
    for first, last, others in re.findall(r"Eq\. (\d+)(?: to (\d+)|((?:(?:, | and )\d+)*))", text):
        numbers |= {*range(int(first), int(last or first) + 1), *map(int, re.findall(r"\d+", others))}
    return numbers


def test_the_page_of_equations_has_all_of_them_and_names_their_files():
    assert {equation: file for equation, (file, _) in listed().items()} == {e: row[0] for e, row in EQUATIONS.items()}


@pytest.mark.parametrize(("equation", "notebook"), [(e, notebook) for e, (_, notebook) in listed().items()])
def test_the_notebook_that_the_page_names_has_the_equation(equation, notebook):
    assert int(equation.split()[-1]) in mentioned((ROOT / notebook).read_text())


def test_a_marker_is_told_from_its_neighbours():
    source = "def attend():\n    '''mean (AOT Eq. 2)'''\nx = y  # AOT Eq. 3, 14\n"
    assert marked(source, "AOT Eq. 2") == ["def attend():\n    '''mean (AOT Eq. 2)'''"]
    assert marked(source, "AOT Eq. 14") == ["    '''mean (AOT Eq. 2)'''\nx = y  # AOT Eq. 3, 14"]
    assert not marked(source, "AOT Eq. 1") and not marked(source, "SST Eq. 2")
    assert not marked("x = y  # DeAOT Eq. 3\n", "AOT Eq. 3")


@pytest.mark.parametrize("paper", ["AOT", "SST", "SITVOS", "HST", "STCN", "XMem", "DeAOT", "RMem", "XMem++", "SAM2"])
def test_a_marker_is_found_whatever_its_capitals(paper):
    for text in (f"# {paper} Eq. 3", f"x = y  # {paper} Eq. 3", f"mean ({paper} Eq. 3)", f"{paper} Eq. 3: E = Y P D"):
        assert markers(text) == [f"{paper} Eq. 3"]
    assert markers(f"# {paper} Eq. 2, 14") == [f"{paper} Eq. 2", f"{paper} Eq. 14"]
    assert marked(f"x = y  # {paper} Eq. 3", f"{paper} Eq. 3")


@pytest.mark.parametrize(
    "prose",
    ["See Eq. 3", "text Eq. 3", "the matrix P of Eq. 3", "(Eq. 3)", "M_E Eq. 3", "Fig. 3, Eq. 3 and 4", "AOT, Eq. 3"],
)
def test_prose_is_no_marker(prose):
    assert not markers(f"# {prose}")


def test_the_page_of_equations_may_name_any_paper():
    row = "| XMem Eq. 1, 2 | says | [xmem.py](../minivos/xmem.py) | [09](../notebooks/09.ipynb) |"
    rows = rows_of(f"| equation | says | code | notebook |\n|---|---|---|---|\n{row}\n| See Eq. 3 | [a](../b) |\n")
    assert rows == dict.fromkeys(["XMem Eq. 1", "XMem Eq. 2"], ("minivos/xmem.py", "notebooks/09.ipynb"))

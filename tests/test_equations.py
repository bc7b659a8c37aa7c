"""Every numbered equation of a paper stands at the line that computes it, and a test covers that line."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# equation: file, test file, what stands at the marked line or the one above, test
TRACKER = "minivos/tracker.py", "test_tracker.py"
ATTENTION = "minivos/nn/attention.py", "test_attention.py"
AOT = "minivos/aot.py", "test_aot.py"
EQUATIONS = {
    "AOT Eq. 1": (
        *TRACKER,
        "if len(scores) > 1",
        "test_groups_of_one_object_are_a_pass_per_object_merged_by_soft_aggregation",
    ),
    "AOT Eq. 2": (*ATTENTION, "def attend", "test_attention_is_the_weighted_mean_of_the_values"),
    "AOT Eq. 3": (*AOT, "self.embed", "test_the_identity_embedding_is_masks_times_assignment_times_bank"),
    "AOT Eq. 4": (*AOT, "def values_of", "test_values_carry_the_identities_of_their_cells"),
    "AOT Eq. 5": (*AOT, "einsum(assignment, logits", "test_read_selects_the_logits_of_the_assigned_identities"),
    "AOT Eq. 6": (*AOT, "attend(q, k, v", "test_long_term_attention_reads_all_kept_frames"),
    "AOT Eq. 7": (*AOT, "softmax", "test_short_term_attention_equals_a_loop_over_cells_and_offsets"),
}


def marked(source: str, equation: str) -> list[str]:
    """The lines that carry the marker of an equation, each after the line before it; "AOT Eq. 2, 4, 6" marks three."""
    paper, number = equation.split(" Eq. ")
    lines = ["", *source.splitlines()]
    pattern = re.compile(rf"{paper} Eq\. (\d+(?:, \d+)*)")
    numbers = [{n for found in pattern.findall(line) for n in found.split(", ")} for line in lines]
    return [f"{lines[i - 1]}\n{line}" for i, line in enumerate(lines) if number in numbers[i]]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_each_equation_stands_where_the_table_says(equation):
    file, _, computes, _ = EQUATIONS[equation]
    lines = marked((ROOT / file).read_text(), equation)
    assert any(computes in line for line in lines), f"{file} marks {equation} at {lines or 'no line'}"


@pytest.mark.parametrize("equation", EQUATIONS)
def test_each_equation_has_its_test(equation):
    _, file, _, name = EQUATIONS[equation]
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_no_marker_is_missing_from_the_table():
    markers = set()
    for path in (ROOT / "minivos").rglob("*.py"):
        for paper, numbers in re.findall(r"\b([A-Z]{3,}) Eq\. (\d+(?:, \d+)*)", path.read_text()):
            markers |= {f"{paper} Eq. {number}" for number in numbers.split(", ")}
    assert markers == set(EQUATIONS)


def test_a_marker_is_told_from_its_neighbours():
    source = "def attend():\n    '''mean (AOT Eq. 2)'''\nx = y  # AOT Eq. 3, 14\n"
    assert marked(source, "AOT Eq. 2") == ["def attend():\n    '''mean (AOT Eq. 2)'''"]
    assert marked(source, "AOT Eq. 14") == ["    '''mean (AOT Eq. 2)'''\nx = y  # AOT Eq. 3, 14"]
    assert not marked(source, "AOT Eq. 1") and not marked(source, "SST Eq. 2")

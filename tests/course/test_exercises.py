"""Every solution passes, every mistake fails with the property that names it, and no check gives itself away."""

import ast
import io
import re
import sys
import tokenize

import numpy as np
import pytest
import torch
from torch import nn

from minivos.course.exercise import HINTS, Exercise, require, require_close
from minivos.course.exercises import all_exercises
from minivos.course.worked import BEGIN, BETWEEN, END, FOLDER, YOUR_TURN, reasons, solution, stub, to_write, with_marks
from minivos.errors import InputError
from mistakes import MISTAKES, Mistake, answer_in, with_mistake

EXERCISES = {exercise.name: exercise for exercise in all_exercises()}
FEWEST_MISTAKES = 3
TOKENS = 5  # a line of a solution with so many may not stand in a check
each_exercise = pytest.mark.parametrize("name", EXERCISES)
each_mistake = pytest.mark.parametrize(
    ("name", "mistake"),
    [pytest.param(name, m, id=f"{name}: {m.name}") for name, several in MISTAKES.items() for m in several],
)


@each_exercise
def test_the_solution_passes(name: str) -> None:
    report = EXERCISES[name].report(answer_in(solution(name)))
    assert report.passed, str(report)
    assert report.share == 1


@each_mistake
@pytest.mark.filterwarnings("ignore::UserWarning")  # what mistakes provoke
def test_a_mistake_fails_by_its_property(name: str, mistake: Mistake) -> None:
    report = EXERCISES[name].report(answer_in(with_mistake(name, mistake)))
    assert report.failed == mistake.caught_by, str(report)
    assert (report.failure.expected == "an answer") == mistake.raises, str(report)
    assert "0x" not in str(report)


@each_exercise
def test_there_are_mistakes_enough(name: str) -> None:
    assert len(MISTAKES[name]) >= FEWEST_MISTAKES


def test_every_file_of_solutions_has_its_exercise() -> None:
    files = {path.stem for path in FOLDER.glob("[a-z]*.py")}
    assert files == set(EXERCISES) == set(MISTAKES)


def test_every_paper_has_a_core_exercise() -> None:
    core = {exercise.notebook: exercise.name for exercise in EXERCISES.values() if exercise.core}
    assert set(core) == {"01", "02", "03", "04", "05", "06"}


@each_exercise
def test_a_stub_is_open_and_holds_no_solution(name: str) -> None:
    source = stub(name)
    assert YOUR_TURN in source and BEGIN not in source and END not in source
    report = EXERCISES[name].report(answer_in(source))
    assert not report.answered and str(report).endswith("your turn")
    for lines in solved_lines(name):
        assert lines not in source
    assert ast.get_docstring(ast.parse(source).body[-1]), "what the student writes has a docstring"
    assert reasons(name) and reasons(name) not in source


@each_exercise
def test_a_check_names_itself(name: str) -> None:
    exercise = EXERCISES[name]
    module = sys.modules[f"minivos.course.notebook{exercise.notebook}"]
    assert vars(module)[f"check_{name}"] is exercise
    sentences = [sentence for sentence, _ in exercise.properties]
    assert len(sentences) >= 3 and len(set(sentences)) == len(sentences)
    assert len(exercise.hints) == HINTS


def test_a_mask_of_numpy_is_a_mask() -> None:
    may_see = answer_in(solution("may_see"))
    assert EXERCISES["may_see"].passes(lambda height, width, window: may_see(height, width, window).numpy())


# No solution inside a check -----------------------------------------------------------------------


def solved_lines(name: str) -> list[str]:
    """Lines of five tokens or more that a student has to write, in one spelling."""
    lines = [line for found in BETWEEN.finditer(with_marks(name)) for line in found[2].splitlines()]
    return [spelled for line in lines if len((spelled := one_spelling(line)).split()) >= TOKENS]


def one_spelling(line: str) -> str:
    """The tokens of a line of code with a space between them; its comment left out."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(line.strip()).readline):
            tokens += [] if token.type in layout else [token.string]
    except tokenize.TokenError:  # a bracket that is closed further down
        pass
    return " ".join(tokens)


def given_away(source: str, name: str) -> list[str]:
    """What stands in the source of a check as it stands in the solution: lines, and formulas with other names."""
    in_check = "\n".join(one_spelling(line) for line in source.splitlines())
    spaceless = re.sub(r"\s+", "", source)
    lines = [line for line in solved_lines(name) if line in in_check or line.replace(" ", "") in spaceless]
    own = formulas(ast.parse(source))
    body = ast.parse(solution(name))
    return lines + sorted(formulas(body) & own)


def formulas(tree: ast.AST) -> set[str]:
    """Arithmetic of three operations or more, all names alike and all numbers as they are."""
    found = set()
    for node in ast.walk(tree):
        operations = [inner for inner in ast.walk(node) if isinstance(inner, ast.BinOp)]
        if isinstance(node, ast.BinOp) and len(operations) >= 3:
            found.add(re.sub(r"\b[A-Za-z_]\w*\b", "_", ast.unparse(node)))
    return found


def check_source(name: str) -> str:
    module = sys.modules[f"minivos.course.notebook{EXERCISES[name].notebook}"]
    with open(module.__file__, encoding="utf8") as file:
        return file.read()


@each_exercise
def test_no_check_holds_its_solution(name: str) -> None:
    assert not given_away(check_source(name), name)


@pytest.mark.parametrize(
    ("name", "leak"),
    [
        ("decay", "quarter = len(values) // 4"),
        ("backwards", "turned = follow({0:last_mask},  frames[::-1])"),
        ("disagreement", "differ = forwards != backwards  # the answer"),
        ("backbone_runs", "assert kept == frames + objects * (frames - 1)"),
        ("soft_aggregate", "hints = ('at the end, return odds / odds.sum(dim=1, keepdim=True)',)"),
    ],
)  # fmt: skip
def test_a_solution_inside_a_check_is_found(name: str, leak: str) -> None:
    source = check_source(name) + "\n\ndef leak():\n" + "".join(f"    {line.strip()}\n" for line in leak.splitlines())
    assert given_away(source, name)


# What the student reads ---------------------------------------------------------------------------


def small_exercise() -> Exercise:
    check = Exercise("decay", "00", "Doubling", "task", hints=("add", "add again", "x + x"))

    @check.property("zero stays zero")
    def _(double):
        require_close(double(0), 0, given="0")

    @check.property("vectors, too")
    def _(double):
        require_close(double(np.array([1.0, -2.5])), [2.0, -5], given="(1, -2.5)")

    return check


def test_a_failing_property_shows_its_case(capsys) -> None:
    small_exercise()(lambda x: x * x)
    assert capsys.readouterr().out == (
        "00 Doubling: 1 of 2 properties hold\n"
        "  yes  zero stays zero\n"
        "  NO   vectors, too\n"
        "       given     (1, -2.5)\n"
        "       expected  [2, -5]\n"
        "       got       [1, 6.25]\n"
        "check_decay.hint() gives a hint\n"
    )


def test_a_right_answer_passes(capsys) -> None:
    check = small_exercise()
    check(lambda x: x + x)
    assert capsys.readouterr().out.startswith("00 Doubling: all 2 properties hold\n")
    assert check.passes(lambda x: 2 * x) and not check.passes(lambda x: 3 * x)


class Bare(nn.Module):
    pass


class NothingYet(nn.Module):
    def forward(self, x):
        pass


class WithHelper(nn.Module):
    def __init__(self):
        super().__init__()
        self.start_at_zero()

    def start_at_zero(self):
        self.zero = 0

    def forward(self, x):
        return self.zero


@pytest.mark.parametrize("answer", [None, lambda x: None, Bare, lambda x: exec("raise NotImplementedError")])
def test_an_open_exercise_says_your_turn(answer, capsys) -> None:
    small_exercise()(answer)
    assert capsys.readouterr().out == "00 Doubling: your turn\n"


def test_a_method_to_write_that_returns_nothing_is_open_and_others_may() -> None:
    check = Exercise("identity_bank", "02", "Zero", "task", hints=("a", "b", "c"))

    @check.property("forward answers")
    def _(kind):
        require_close(kind()(0), 0, given="0")

    assert to_write("identity_bank") == {"forward", "assign"}
    assert not check.report(NothingYet).answered and check.passes(WithHelper)


def test_half_an_answer_is_no_pass() -> None:
    report = small_exercise().report(lambda x: 0 if np.ndim(x) == 0 else None)
    assert report.failed == "vectors, too" and not report.passed and "not written yet" in str(report)


def test_an_error_is_told_with_its_line() -> None:
    def double(x):
        return x.doubled()

    text = str(small_exercise().report(double))
    assert "your line `return x.doubled()`" in text
    assert "AttributeError: 'int' object has no attribute 'doubled'" in text


def test_no_address_is_shown() -> None:
    def complain(x):
        raise ValueError(f"{object()} and {object()}")

    assert "0x" not in str(small_exercise().report(complain))
    assert "0x" not in str(small_exercise().report(lambda x: object()))


@pytest.mark.parametrize("got", [float("nan"), torch.tensor([0.0, 0.0]), "0", [[1], [1, 2]], object()])
def test_what_is_no_such_number_fails(got) -> None:
    assert small_exercise().report(lambda x: got).failed == "zero stays zero"


def test_a_report_is_the_same_every_time_and_leaves_random_numbers_alone() -> None:
    torch.manual_seed(1)  # another seed than that of a check
    before = torch.random.get_rng_state()
    reports = {str(EXERCISES["read_memory"].report(answer_in(solution("read_memory")))) for _ in range(2)}
    assert len(reports) == 1 and torch.equal(torch.random.get_rng_state(), before)


def test_hints_come_one_at_a_time(capsys) -> None:
    check = small_exercise()
    for number in (1, 2, 3, 3):
        check.hint()
        assert capsys.readouterr().out.count("Hint ") == number


def test_the_solution_comes_after_a_try_or_when_asked_twice(capsys) -> None:
    check, tried = small_exercise(), small_exercise()
    check(None)
    check.solution()
    assert "def decay" not in capsys.readouterr().out
    check.solution()
    assert "def decay" in capsys.readouterr().out
    tried(lambda x: x)
    tried.solution()
    shown = capsys.readouterr().out
    assert reasons("decay") in shown and solution("decay") in shown and BEGIN not in shown


def test_large_tensors_show_one_place() -> None:
    check = Exercise("decay", "00", "Ones", "task", hints=("a", "b", "c"))

    @check.property("all ones")
    def _(ones):
        require_close(ones(), torch.ones(4, 5), given="nothing")

    wrong = torch.ones(4, 5)
    wrong[2, 3] = 0.126
    text = str(check.report(lambda: wrong))
    assert "expected  1 at [2, 3]" in text and "got       0.13 there" in text


def test_an_exercise_has_three_hints() -> None:
    with pytest.raises(InputError, match="3"):
        Exercise("decay", "00", "Decay", "task", hints=("one",))


def test_an_unknown_solution_is_refused() -> None:
    with pytest.raises(InputError, match="expected one of area_without_outline, .*backwards"):
        solution("nothing")


def test_require_shows_what_came() -> None:
    with pytest.raises(Exception, match="given x, expected y, got 2.5"):
        require(False, "x", "y", 2.5)

"""An exercise: named properties that every right answer has, hints on request, a worked solution.

A check is made and filled like this, and called with the answer of a student:

    check_decay = Exercise("decay", "00", "Decay", "How much ...", hints=("...", "...", "..."))

    @check_decay.property("constant scores give 0")
    def _(decay):
        require_close(decay(np.ones(8)), 0, given="scores of 1 in all 8 frames")

    check_decay(decay)       # says which property fails, with the case
    check_decay.hint()       # one more each time
    check_decay.solution()   # after a try, or if asked twice

docs/exercises.md says how to add one.
"""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from inspect import isfunction
from typing import Any

import numpy as np
import torch

from minivos.course.worked import show_solution, to_write
from minivos.errors import check_rules

HINTS = 3  # that every exercise has
MOST_NUMBERS = 12  # that a case shows
Test = Callable[[Any], None]


class PropertyFails(Exception):
    """A property does not hold: the case that was given, what was expected, what came."""

    def __init__(self, given: str, expected: str, got: str) -> None:
        super().__init__(f"given {given}, expected {expected}, got {got}")
        self.given, self.expected, self.got = given, expected, got


def require(holds: Any, given: str, expected: str, got: Any) -> None:
    """PropertyFails unless `holds`; `got` is shown by `in_words`."""
    if not holds:
        raise PropertyFails(given, expected, in_words(got))


def require_shape(got: Any, shape: tuple[int, ...], given: str) -> None:
    """PropertyFails unless `got` is a tensor or array of that shape."""
    if not isinstance(got, torch.Tensor | np.ndarray):
        raise PropertyFails(given, f"a tensor of shape {shape}", in_words(got))
    if tuple(got.shape) != shape:
        raise PropertyFails(given, f"shape {shape}", f"shape {tuple(got.shape)}")


def require_close(got: Any, expected: Any, given: str, within: float = 1e-4) -> None:
    """PropertyFails unless `got` has the shape and, within a distance, the values of `expected`."""
    mine, right = as_tensor(got), as_tensor(expected)
    assert right is not None, f"{expected} is no number"
    if mine is None:
        raise PropertyFails(given, in_words(expected), in_words(got))
    require_shape(mine, tuple(right.shape), given)
    apart = (mine - right).abs()
    wrong = ~(apart <= within)  # not a number is wrong, too
    if not wrong.any():
        return
    place, here, there = (), "", ""
    if right.numel() > MOST_NUMBERS:
        place = tuple(wrong.nonzero()[0].tolist())
        here, there = f" at {list(place)}", " there"
    alike = in_words(right[place]) == in_words(mine[place])
    texts = [in_words(part[place], digits=4 if alike else 2) for part in (right, mine)]
    raise PropertyFails(given, texts[0] + here, texts[1] + there)


def as_tensor(value: Any) -> torch.Tensor | None:
    """A number, array or tensor as a tensor of float64; None of anything else."""
    if isinstance(value, torch.Tensor):
        return value.detach().double()
    if isinstance(value, bool | int | float | np.number | np.ndarray | list | tuple):
        try:
            return torch.from_numpy(np.array(value, dtype=np.float64))
        except (TypeError, ValueError):
            return None
    return None


def in_words(value: Any, digits: int = 2) -> str:
    """A short text for a value: numbers of few places, large tensors by their shape, no address."""
    if isinstance(value, torch.Tensor | np.ndarray):
        numbers = as_tensor(value)
        if numbers is None or numbers.numel() > MOST_NUMBERS:
            return f"numbers of shape {tuple(value.shape)}"
        return in_words(numbers.tolist(), digits)
    if isinstance(value, list | tuple):
        inside = ", ".join(in_words(item, digits) for item in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    if isinstance(value, float | np.floating):
        text = f"{float(value):.{digits}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    if value is None or isinstance(value, str | bool | int | np.number):
        return str(value)
    return f"a {type(value).__name__}"


@dataclass
class Report:
    """What a check found; its text is what the student reads."""

    title: str
    sentences: list[str]  # of all properties
    held: int = 0  # how many of them held, one after the other
    failure: PropertyFails | None = None
    answered: bool = True
    next_step: str = ""

    @property
    def passed(self) -> bool:
        """Whether every property holds."""
        return self.answered and self.failure is None

    @property
    def share(self) -> float:
        """Share of the properties that held before the first that did not, in [0, 1]."""
        return self.held / len(self.sentences)

    @property
    def failed(self) -> str | None:
        """The property that does not hold, in words."""
        return self.sentences[self.held] if self.failure else None

    def __str__(self) -> str:
        if not self.answered:
            return f"{self.title}: your turn"
        count = f"all {self.held}" if self.passed else f"{self.held} of {len(self.sentences)}"
        lines = [f"{self.title}: {count} properties hold"]
        lines += [f"  yes  {sentence}" for sentence in self.sentences[: self.held]]
        if self.failure:
            lines.append(f"  NO   {self.failed}")
            for word in ("given", "expected", "got"):
                lines.append(f"       {word:8}  {getattr(self.failure, word)}")
        return "\n".join([*lines, self.next_step])


@dataclass
class Exercise:
    """A task for students, and the check of their answers."""

    name: str  # of the solution's file, and of the check: check_<name>
    notebook: str  # "00" to "08"
    title: str
    task: str  # what to do, in Markdown
    hints: tuple[str, ...]
    core: bool = False  # the answer is the idea of the notebook's paper
    properties: list[tuple[str, Test]] = field(default_factory=list)
    _hints_given: int = 0
    _tried: bool = False

    def __post_init__(self) -> None:
        rule = f"{len(self.hints)} hints of {self.name} must be {HINTS}"
        check_rules({rule: len(self.hints) == HINTS})

    def property(self, sentence: str) -> Callable[[Test], Test]:
        """Decorator: a function that takes an answer and uses `require...`; easiest ones first."""

        def add(test: Test) -> Test:
            self.properties.append((sentence, test))
            return test

        return add

    def __call__(self, answer: Any) -> None:
        """Print which properties the answer has, up to the first that it has not."""
        report = self.report(answer)
        self._tried = self._tried or report.answered
        print(report)

    def passes(self, answer: Any) -> bool:
        """Whether the answer has all properties; for grading, it prints nothing."""
        return self.report(answer).passed

    def report(self, answer: Any) -> Report:
        """What the check finds; it is the same every time."""
        report = Report(
            f"{self.notebook} {self.title}", [sentence for sentence, _ in self.properties]
        )
        if is_open(answer):
            report.answered = False
            return report
        asked = open_where_none(answer, to_write(self.name))
        for _, test in self.properties:
            try:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    test(asked)
            except PropertyFails as failure:
                report.failure = failure
            except NotImplementedError:
                report.answered = report.held > 0
                report.failure = PropertyFails("your code", "an answer", "a part not written yet")
            except Exception as error:  # whatever a student's code raises is told, not thrown
                report.failure = what_was_raised(error, answer)
            if not report.passed:
                break
            report.held += 1
        check = f"check_{self.name}"
        more = "shows another way to write it, with reasons" if report.passed else "gives a hint"
        report.next_step = f"{check}.{'solution' if report.passed else 'hint'}() {more}"
        return report

    def hint(self) -> None:
        """Print one hint more than before."""
        self._hints_given = min(self._hints_given + 1, HINTS)
        for number, hint in enumerate(self.hints[: self._hints_given], start=1):
            print(f"Hint {number} of {HINTS}: {hint}")
        if self._hints_given == HINTS:
            print(f"check_{self.name}.solution() shows a solution, with its reasons")

    def solution(self) -> None:
        """Print the worked solution: after a try, or when asked a second time."""
        if not self._tried:
            self._tried = True
            print(f"{self.title}: try it first, or ask for a hint. Ask again to see the solution.")
            return
        print(show_solution(self.name))


def is_open(answer: Any) -> bool:
    """Whether nothing was answered yet: None, or a class without a function of its own."""
    if isinstance(answer, type):
        theirs = [kind for kind in answer.__mro__ if kind not in (object, torch.nn.Module)]
        return not any(isfunction(part) for kind in theirs for part in vars(kind).values())
    return answer is None


def open_where_none(answer: Any, names: set[str]) -> Any:
    """The answer; a function, or one of these methods, that returns None is not written yet."""
    if isinstance(answer, type):
        own = {name: part for name, part in vars(answer).items() if name in names}
        methods = {name: not_none(part) for name, part in own.items()}
        return type(answer.__name__, (answer,), methods)
    return not_none(answer) if callable(answer) else answer


def not_none(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which raises NotImplementedError where it returned None."""

    @wraps(function)
    def asked(*args: Any, **settings: Any) -> Any:
        result = function(*args, **settings)
        if result is None:
            raise NotImplementedError
        return result

    return asked


def what_was_raised(error: Exception, answer: Any) -> PropertyFails:
    """An error of the student's code as a property that fails, with the line that raised it."""
    parts = vars(answer).values() if isinstance(answer, type) else [answer]
    files = {part.__code__.co_filename for part in parts if isfunction(part)}
    stack = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in stack if frame.filename in files]
    first_line = (str(error).strip().splitlines() or [""])[0]
    got = f"{type(error).__name__}: {without_addresses(first_line)}"
    line = linecache.getline(own[-1].filename, own[-1].lineno or 0).strip() if own else ""
    given = f"your line `{line}`" if line else "your code"
    return PropertyFails(given, "an answer", got)


def without_addresses(text: str) -> str:
    """The text without what differs from run to run."""
    return re.sub(r"\s*\bat 0x[0-9a-fA-F]+|0x[0-9a-fA-F]+", "", text)

"""The one exception that minivos raises for bad input; checks and messages that files share."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any


class InputError(ValueError):
    """Bad input; the message says what it got, what it expected and what to do."""


def check_settings(
    settings: Any,
    least: Mapping[str, float] | None = None,
    or_none: Collection[str] = (),
    **choices: Collection[str],
) -> None:
    """Raise InputError unless each field of a dataclass is of the kind that its default is.

    Whole numbers are 1 or more, others 0 or more, or as `least` says. A field whose default is
    None, or that is named in `or_none`, is a whole number or None. Names need their `choices`.
    A field with a default of its own for each dataclass is left to that dataclass.
    """
    for field in fields(settings):
        if field.default is MISSING:
            continue
        value, example = getattr(settings, field.name), field.default
        if field.name in choices:
            known = list(choices[field.name])
            fits, expected = value in known, f"one of {', '.join(known)}"
        elif isinstance(example, bool):
            fits, expected = isinstance(value, bool), "True or False"
        elif isinstance(example, tuple):
            fits, expected = isinstance(value, tuple), "a tuple"
        else:
            whole = not isinstance(example, float)
            lowest = (least or {}).get(field.name, 1 if whole else 0)
            number = isinstance(value, int if whole else (int, float))
            fits = number and not isinstance(value, bool) and value >= lowest
            expected = f"{'a whole' if whole else 'a'} number, {lowest} or more"
            if example is None or field.name in or_none:
                fits, expected = fits or value is None, f"{expected} or None"
        if not fits:
            raise InputError(f"got {field.name}={value!r}; expected {expected}.")


def check_rules(rules: Mapping[str, bool]) -> None:
    """Raise InputError with the rules that are broken, those with a False."""
    if broken := [rule for rule, kept in rules.items() if not kept]:
        raise InputError(f"These settings cannot be: {'; '.join(broken)}.")


@cache
def say_once(log: Callable[[str], None], message: str) -> None:
    """Log a message, by the method of a logger, the first time only."""
    log(message)

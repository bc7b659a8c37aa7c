"""The one exception that minivos raises for bad input, and what finds it in settings."""

from collections.abc import Mapping
from typing import get_origin, get_type_hints

KINDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a name",
    tuple: "a tuple",
}


class InputError(ValueError):
    """Bad input; the message names what came, what was expected and what to do."""


def check_settings(settings: object, **least: int) -> None:
    """Raise InputError unless the fields of a dataclass hold what their annotations say.

    Those named here must not be below the least given, where they are not None.
    """
    for field, kind in get_type_hints(type(settings)).items():
        value, kind = getattr(settings, field), tuple if get_origin(kind) is tuple else kind
        fits = isinstance(value, float | int if kind is float else kind) and isinstance(
            value, bool
        ) == (kind is bool)
        bound = f", {least[field]} or more" if field in least else ""
        if not fits or (bound and value is not None and not value >= least[field]):
            names = [name for known, name in KINDS.items() if kind in (known, known | None)]
            optional = " or None" if kind not in KINDS else ""
            raise InputError(f"{field}={value!r} came; give {names[0]}{bound}{optional}.")


def check_rules(rules: Mapping[str, bool]) -> None:
    """Raise InputError with the rules that are broken, those with a False."""
    if broken := [rule for rule, kept in rules.items() if not kept]:
        raise InputError(f"Settings that cannot be: {'; '.join(broken)}.")

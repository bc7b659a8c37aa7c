"""The one exception that minivos raises for bad input, and what finds it in the settings of networks."""

from collections.abc import Mapping


class InputError(ValueError):
    """Bad input; the message names what came, what was expected and what to do."""


def check_numbers(settings: object, **least: int) -> None:
    """Raise InputError unless these fields of `settings` are whole numbers and not below the least given here."""
    for field, low in least.items():
        value = getattr(settings, field)
        if not isinstance(value, int) or value < low:
            raise InputError(f"{field}={value!r} came; give a whole number, {low} or more.")


def check_rules(rules: Mapping[str, bool]) -> None:
    """Raise InputError with the rules that are broken, those with a False."""
    if broken := [rule for rule, kept in rules.items() if not kept]:
        raise InputError(f"Settings that cannot be: {'; '.join(broken)}.")

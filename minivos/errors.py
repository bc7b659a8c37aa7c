"""The one exception that minivos raises for bad input."""


class InputError(ValueError):
    """Bad input; the message names what came, what was expected and what to do."""

"""The error that every reader raises."""


class InputError(ValueError):
    """An input that cannot be used; the message is one line: file, what was expected, what was found."""

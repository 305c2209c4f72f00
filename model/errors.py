"""The errors of bad input and weights, and how an error is put in one line."""

from __future__ import annotations

import traceback

from model.config import WeightsError


class InputError(ValueError):
    """An input that cannot be used; the message is one line: file, what was expected, what was found."""


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks; for an OSError, the file and what is wrong with it."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return printable(" ".join(text.split())) or type(error).__name__


def printable(text: str) -> str:
    """Characters that would control a terminal, or are none, as escapes: names of files may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason_of(error: Exception) -> str:
    """`one_line`; the traceback of an error that no input accounts for goes to stderr."""
    if isinstance(error, InputError | WeightsError | OSError | MemoryError):
        return one_line(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {one_line(error)}"

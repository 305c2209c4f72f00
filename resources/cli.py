"""What all commands share: exit codes, and errors in one line on stderr."""

from __future__ import annotations

import sys

FAILED, BAD_INPUT = 1, 2
"""Exit codes besides 0: something failed on the way, perhaps some scans only; input was refused."""


def counted(number: int, what: str) -> str:
    """ "1 case", "2 cases"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def end_with(error: Exception, code: int = BAD_INPUT) -> int:
    """Says on stderr in one line what went wrong, and returns the exit code."""
    print(f"error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
    return code

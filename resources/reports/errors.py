"""The error of the report commands."""

from __future__ import annotations


class ReportError(ValueError):
    """A report, a folder or a file of findings that cannot be read; the message is one line."""

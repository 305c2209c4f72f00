"""Radiology reports, English and Dutch, to findings."""

from resources.reports.reader import Reading, explain_report, read_report

__all__ = ["Reading", "explain_report", "read_report"]

"""Radiology reports, English and Dutch, to findings."""

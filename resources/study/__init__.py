"""The comparisons behind the published figures."""

"""How good a detector is: matching, curves, statistics, figures and one page. Needs no torch.

The way of the data: cases (truth) and the files of process.py (predictions) -> one table of lesions and false
positives per matching rule -> measures with confidence intervals -> metrics.json, lesions.csv, figures, page.
"""


class EvaluationError(ValueError):
    """Truth or predictions that cannot be evaluated; the message is one line: where, expected, found."""

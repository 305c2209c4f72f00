"""A cohort's overview, summary.html: a sortable table with a thumbnail and a link a scan, and histograms."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from model.config import LESION_TYPES
from model.exports import read_results
from resources.review.build import FACTS, PAGE, THUMBNAIL, Job
from resources.review.page import environment

MOST_COUNTED = 10
"""Scans with as many findings or more share a bar of the histogram."""


def overview_of(jobs: Sequence[Job]) -> str:
    """The page, from what lies in the scans' folders, the likeliest scan first. Raises InputError."""
    rows = sorted((row_of(job) for job in jobs), key=lambda row: (-row["likelihood"], row["case"]))
    counts = Counter(min(row["count"], MOST_COUNTED) for row in rows)
    types = Counter(name for row in rows for name in row["types"])
    labels = [str(n) if n < MOST_COUNTED else f"{n}+" for n in range(MOST_COUNTED + 1)]
    return environment().get_template("overview.html.j2").render(
        rows=rows,
        positive=sum(row["positive"] for row in rows),
        lesions=sum(row["count"] for row in rows),
        charts=[
            {"title": "scans by number of findings", "bars": _bars(labels, (counts[n] for n in range(11)))},
            {"title": "findings by type", "bars": _bars(LESION_TYPES, (types[n] for n in LESION_TYPES))},
        ],
    )  # fmt: skip


def _bars(labels: Iterable[str], counts: Iterable[int]) -> list[dict[str, Any]]:
    pairs = list(zip(labels, counts, strict=True))
    most = max([count for _, count in pairs] + [1])
    return [{"label": label, "count": count, "share": count / most} for label, count in pairs]


def row_of(job: Job) -> dict[str, Any]:
    """A row of the overview. findings: those above the operating point."""
    results = read_results(job.folder)
    above = [d for d in results.detections if d.above_operating_point]
    thumbnail = job.folder / THUMBNAIL
    has_page = (job.folder / PAGE).exists()
    facts = json.loads((job.folder / FACTS).read_bytes()) if (job.folder / FACTS).exists() else {}
    return {
        "case": job.case.id,
        "page": os.path.join(job.case.id, PAGE) if has_page else None,
        "thumbnail": base64.b64encode(thumbnail.read_bytes()).decode() if thumbnail.exists() else None,
        "likelihood": results.likelihood,
        "positive": bool(results.details["scan_above_operating_point"]),
        "count": len(above),
        "types": [d.type for d in above],
        "top": results.detections[0] if results.detections else None,
        "lost": facts.get("lost"),
        "reviewed": _is_reviewed(job),
        "notes": "; ".join(results.details["warnings"]),
    }


def _is_reviewed(job: Job) -> bool:
    """Whether a review that the page saved was put beside it."""
    for path in job.folder.glob("*.review.json"):
        try:
            if json.loads(path.read_bytes()).get("case") == job.case.id:
                return True
        except (OSError, ValueError, AttributeError):
            continue
    return False

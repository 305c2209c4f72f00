"""Annotations of public reports, made before the reader saw them; the texts are not kept here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from resources.cases.organs import organs

HERE = Path(__file__).parent
TEXTS = HERE.parents[2] / "shared" / "data" / "reports" / "unseen"
ROWS = [json.loads(line) for line in (HERE / "unseen.jsonl").read_text(encoding="utf-8").splitlines()]


def test_annotations_are_well_formed() -> None:
    assert sum(row["report"].startswith("en/") for row in ROWS) == 35
    for row in ROWS:
        assert row["source"]
        for finding in row["findings"]:
            assert finding["organ"] is None or finding["organ"] in organs()
            assert finding["span"][0] < finding["span"][1]
            assert (finding["count"] is None) == (finding["presence"] == "absent")


@pytest.mark.skipif(not TEXTS.is_dir(), reason=f"no texts in {TEXTS}")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["report"])
def test_annotations_are_of_these_texts(row: dict[str, Any]) -> None:
    assert hashlib.sha256((TEXTS / row["report"]).read_bytes()).hexdigest() == row["sha256"]

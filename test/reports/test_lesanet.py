"""Recall of body part and lesion type words on LesaNet's hand-labelled sentences (Yan et al. 2019)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LESANET = HERE.parents[2] / "shared" / "data" / "lesanet"

spec = importlib.util.spec_from_file_location("lesanet_terms", HERE / "lesanet_terms.py")
assert spec is not None
assert spec.loader is not None
terms = importlib.util.module_from_spec(spec)
spec.loader.exec_module(terms)

pytestmark = pytest.mark.skipif(not LESANET.is_dir(), reason=f"no LesaNet labels in {LESANET}")


def test_recall() -> None:
    """The first half was looked at for the vocabulary, the second was not."""
    rows = json.loads((LESANET / "hand_labeled_test_set.json").read_text(encoding="utf-8"))
    for part in (rows[:250], rows[250:]):
        found, annotated, _ = terms.recall(part)
        print({kind: f"{found[kind]} of {annotated[kind]}" for kind in annotated})
        assert all(found[kind] >= 0.9 * annotated[kind] for kind in ("place", "lesion"))


def test_every_mined_term_has_a_name_here() -> None:
    """Each of the 171 terms is a place or lesion word of ours, or an attribute that says neither."""
    mined = LESANET / "text_mined_labels_171_and_split.json"
    names = json.loads(mined.read_text(encoding="utf-8"))["term_list"]
    words = {name for name in names if name not in terms.ATTRIBUTES | terms.OTHER}
    assert [name for name in words if not terms.known(name)] == []

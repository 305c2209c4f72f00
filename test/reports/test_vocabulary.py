"""The tables agree with each other, with the table of organs and with the detector's lesion types."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.config import LESION_TYPES
from resources.cases.organs import organs
from resources.reports.vocabulary import (
    FOLDER,
    VocabularyError,
    ancestors,
    lesion_words,
    places,
    read_terms,
    vocabulary,
)


def test_places() -> None:
    for place in places().values():
        assert place.type is None or place.type in LESION_TYPES
        assert all(name in places() for name in (place.organ, *place.parents, *filter(None, [place.node])))
        assert place.name not in ancestors(place.name)[1:]
        assert place.organ in organs()


def test_every_type_and_source_is_there() -> None:
    assert {place.type for place in places().values()} == {None, *LESION_TYPES}
    for name in ("places", "lesions"):
        lines = (FOLDER / "tables" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
        assert {len(row) for row in rows} == {len(rows[0])}
        assert all(row[-1] for row in rows)


def test_lesions() -> None:
    assert all(not word.place or word.place in places() for word in lesion_words().values())


@pytest.mark.parametrize("language", ["en", "nl"])
def test_both_languages_name_every_place_and_lesion(language: str) -> None:
    folder = FOLDER / "terms" / language
    nodes = {name for name in places() if name.endswith("lymph node")}
    assert set(places()) - {name for name, _, _ in read_terms(folder / "places.txt")} <= nodes
    assert set(lesion_words()) == {name for name, _, _ in read_terms(folder / "lesions.txt")}
    assert vocabulary(language).language == language  # type: ignore[arg-type]


def test_a_terms_file(tmp_path: Path) -> None:
    file = tmp_path / "terms.txt"
    file.write_text("# note\nnodule: nodule, node of lung / nodules\n\nlesion: / lesions\n", encoding="utf-8")
    assert read_terms(file) == [
        ("nodule", "nodule", False),
        ("nodule", "node of lung", False),
        ("nodule", "nodules", True),
        ("lesion", "lesions", True),
    ]
    file.write_text("nodule nodules\n", encoding="utf-8")
    with pytest.raises(VocabularyError, match=r"line 1: expected `name: word, word`, found 'nodule nodules'"):
        read_terms(file)

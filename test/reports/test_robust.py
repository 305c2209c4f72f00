"""The reader on anything: no string makes it fail, and spans always lead back into the report."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.cases.case import Finding
from resources.reports.language import detect
from resources.reports.reader import read_report
from resources.reports.text import clean
from resources.reports.vocabulary import FOLDER, read_terms

WORDS = [word for path in sorted((FOLDER / "terms").rglob("*.txt")) for _, word, _ in read_terms(path)]
PIECES = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from([*"0.,;:?!()-/\n\r\t <>&", "12 mm", "2,3 x 1,8 cm", "(3-86)", "<p>", "&nbsp;", "```"]),
    st.text(max_size=5),
)
SENTENCE = "There is a 12 mm metastasis in the liver. "


def key(finding: Finding) -> tuple[object, ...]:
    return finding.organ, finding.count, finding.sizes_mm, finding.presence


@settings(deadline=None, max_examples=150)
@given(st.lists(PIECES, max_size=60), st.sampled_from(["", " "]))
def test_any_text(pieces: list[str], joint: str) -> None:
    text = joint.join(pieces)
    for finding in read_report(text):
        assert 0 <= finding.span[0] <= finding.span[1] <= len(text)


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_clean_offsets(text: str) -> None:
    plain = clean(text)
    origins = [plain.origin(i) for i in range(len(plain.text))]
    assert origins == sorted(origins)
    assert all(0 <= at < len(text) for at in origins)
    assert all(plain.text[i] == text[at] for i, at in enumerate(origins) if plain.text[i].isalnum())


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\x00",
        "\ud800",
        "?" * 10_000,
        "a" * 100_000,
        "no " * 5_000,
        "12 mm " * 5_000,
        "liver " * 5_000,
        "5, 6, " * 20_000,
    ],
)
def test_strange_texts(text: str) -> None:
    assert isinstance(read_report(text), list)


@pytest.mark.slow
def test_a_megabyte() -> None:
    text = SENTENCE * (1_000_000 // len(SENTENCE))
    found = read_report(text)
    assert len(found) == text.count("metastasis")
    assert text[slice(*found[-1].span)] == "12 mm metastasis"


@pytest.mark.parametrize(
    "text",
    [
        "<html><body><p>There is a <b>12&nbsp;mm</b> metastasis<br>in the liver.</p></body></html>",
        "There is a 12 mm metastasis\r\nin the liver.\r\n",
        "There is a 12 mm\nmetastasis in the\nliver.",
        "THERE IS A 12 MM METASTASIS IN THE LIVER",
        "  there is a   12 mm metastasis in the liver",
        "Notes\n```\nThere is a 12 mm metastasis in the liver.\n```\nLung nodule of 3 mm.",
    ],
)
def test_forms_of_one_sentence(text: str) -> None:
    found = read_report(text)
    assert [key(f) for f in found] == [("liver", 1, (12.0,), "present")]
    assert "metastasis" in text[slice(*found[0].span)].lower()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("No liver lesions.", "en"),
        ("Geen leverlaesies.", "nl"),
        ("", "en"),
        ("Lever: gb. Milt normaal.", "nl"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert detect(text) == language

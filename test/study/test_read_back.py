import dataclasses

import pytest

from resources.cases.case import Finding
from resources.reports.score import Count
from resources.study.read_back import (
    LANGUAGES,
    compare_negatives,
    compare_stated,
    main,
    matches,
    same_organ,
    score_cell,
    score_report,
)
from resources.synthetic.report_plan import STYLES
from resources.synthetic.report_sentences import Mention
from resources.synthetic.report_writer import sample_report

LIVER = Finding("liver", "liver", sizes_mm=(23.0, 18.0))
CLEAR = Finding("lung", "lung", count=None, presence="absent")


@pytest.mark.parametrize(
    ("read", "written", "same"),
    [
        ("spine", "vertebra", True),
        ("sacrum", "vertebra", True),
        ("bone", "vertebra", False),  # coarser than the text
        ("pelvic bone", "hip bone", True),
        ("rib", "hip bone", False),
        ("mesentery", "abdominal fat", True),
        ("spleen", "abdominal fat", False),
        ("iliac lymph node", "lymph node", True),
        ("mediastinum", "lymph node", False),
        (None, "liver", False),
    ],
)
def test_organs_by_the_place_table(read: str | None, written: str, same: bool) -> None:
    assert same_organ(read, written) is same


def test_type_organ_size_and_time_must_agree() -> None:
    change = dataclasses.replace
    assert matches(change(LIVER, sizes_mm=(18.0, 23.2)), LIVER)
    assert not matches(change(LIVER, sizes_mm=(23.0,)), LIVER)
    assert not matches(change(LIVER, sizes_mm=(23.0, 19.0)), LIVER)
    assert not matches(change(LIVER, type="abdomen"), LIVER)
    gone = Finding("liver", "liver", count=None, presence="absent", time="resolved")
    assert matches(gone, change(LIVER, time="resolved"))
    assert not matches(gone, LIVER)


def test_counts_by_hand() -> None:
    """Of two lesions one is read, once too often; the conclusion's repetition counts neither way."""
    lung = Finding("lung", "lung", sizes_mm=(9.0,))
    repeated = Finding("liver", "liver", count="several")
    mentions = [Mention(LIVER), Mention(lung), Mention(repeated, optional=True), Mention(CLEAR)]
    score, errors = compare_stated([LIVER, LIVER, repeated, CLEAR], mentions)
    assert (score.right, score.read, score.annotated) == (1, 2, 2)
    assert score.f1 == 0.5
    assert [error.split()[0] for error in errors] == ["missed", "extra"]


def test_negatives_by_hand() -> None:
    """Bones are one, nodes go by type, a clear gallbladder is an aside of the text."""

    def absent(kind: str | None, organ: str | None) -> Finding:
        return Finding(kind, organ, count=None, presence="absent")

    mentions = [Mention(absent("bone", "bone")), Mention(absent("pelvis", "lymph node")), Mention(CLEAR)]
    read = [
        absent("bone", "spine"),
        absent("bone", "rib"),
        absent("pelvis", "iliac lymph node"),
        absent("abdomen", "gallbladder"),
        absent(None, None),
    ]
    score, errors = compare_negatives(read, mentions)
    assert (score.right, score.read, score.annotated) == (2, 3, 3)
    assert errors == ["missed no lung", "extra  no None"]


def test_a_report_read_as_if_it_said_nothing() -> None:
    _, report = sample_report("en", "A", 1)
    empty = dataclasses.replace(report, text="")
    stated, negatives, errors = score_report(empty)
    assert (stated.right, stated.read, negatives.right, negatives.read) == (0, 0, 0, 0)
    assert stated.annotated + negatives.annotated == len(errors) > 0
    assert Count().f1 == 1.0


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("site", sorted(STYLES))
def test_most_is_read(site: str, language: str) -> None:
    """Far below what the study measures: a guard against ruin, not a result."""
    stated, negatives, _ = score_cell(site, language, range(1000, 1020))  # type: ignore[arg-type]
    assert min(stated.annotated, negatives.annotated) > 20
    assert stated.f1 > 0.8
    assert negatives.f1 > 0.8


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--count", "4", "--seeds", "odd", "--site", "A", "--language", "nl"])
    printed = capsys.readouterr().out
    assert printed.startswith("site A nl: present ")
    assert "negatives" in printed

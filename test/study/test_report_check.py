"""What a second look gets right, counted on a report whose meaning is written out."""

from __future__ import annotations

from resources.cases.case import Finding
from resources.review.second_look import Mention, SecondLook
from resources.study.report_check import Count, check
from resources.synthetic.report_sentences import Mention as Meant

TEXT = "Liver lesion of 20 mm. Nodule in the lung. Several bone lesions. Old cyst. No splenic lesion."


def finding(words: str, **facts: object) -> Finding:
    at = TEXT.index(words)
    return Finding("liver", "liver", span=(at, at + len(words)), **facts)  # type: ignore[arg-type]


LIVER, LUNG = finding("Liver lesion of 20 mm"), finding("Nodule in the lung")
BONE, CYST = finding("Several bone lesions", count="several"), finding("Old cyst", character="benign")
SPLEEN = finding("No splenic lesion", presence="absent", count=None)
MEANT = [
    Meant(LIVER, (1,)),
    Meant(LUNG, (2,)),
    Meant(BONE, (3, 4, 5)),
    Meant(CYST, (6,)),
    Meant(SPLEEN, (7,)),
]


def test_three_answers() -> None:
    """Lesion 1 is given to its words, 2 to those of the bones, 3 to none; 7 and a false one are not told."""
    look = SecondLook(
        TEXT,
        (LIVER, LUNG, BONE),
        {0: 1, 1: 1, 2: 2},
        (Mention(1, 0, 1.0, True), Mention(2, 2, 1.0, True)),
    )
    checked = check(look, MEANT, [1, 2, 3, 7, -1])
    assert checked.mentioned == Count(2, 2, 3)
    assert checked.placed == Count(1, 2, 3)
    assert checked.unmentioned == Count(2, 3, 2)
    assert checked.undetected == Count(1, 2, 1)  # one of two bone lesions, rightly; the nodule, wrongly
    assert (checked + checked).undetected == Count(2, 4, 2)


def test_no_answers() -> None:
    checked = check(SecondLook(TEXT, (), {}, ()), [], [])
    assert checked.mentioned == Count(0, 0, 0)
    assert checked.mentioned.recall == 1.0

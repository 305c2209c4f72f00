"""LesaNet's terms as types."""

import pytest

from resources.cases.case import Annotation
from resources.training.targets.terms import type_of


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("liver; upper abdomen; abdomen; hypoattenuation", "liver"),
        ("adrenal gland; retroperitoneum; abdomen", "abdomen"),
        ("nodule; right lower lobe; right lung; lung; chest", "lung"),
        ("rib; bone; chest wall", "bone"),
        ("axilla lymph node; axilla; chest wall; lymph node", "soft tissue"),
        ("lymph node; enlargement", None),
        ("lung; liver", None),
    ],
)
def test_the_one_type_they_agree_on(terms: str, expected: str | None) -> None:
    attributes: dict[str, str | float | bool] = {"lesanet_relevant": terms, "lesanet_uncertain": "kidney"}
    assert type_of(Annotation("point", point=(0, 0, 0), attributes=attributes)) == expected
    assert type_of(Annotation("point", "pelvis", point=(0, 0, 0), attributes=attributes)) == "pelvis"


def test_terms_given_by_hand_count_first() -> None:
    attributes: dict[str, str | float | bool] = {
        "lesanet_relevant": "lung",
        "lesanet_terms": "kidney; abdomen",
    }
    assert type_of(Annotation("point", point=(0, 0, 0), attributes=attributes)) == "kidney"
    assert type_of(Annotation("point", point=(0, 0, 0))) is None

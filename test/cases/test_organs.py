"""The table of organs: names, regions and places in label maps, with the answers written out."""

import pytest

from resources.cases.organs import (
    canonical,
    exact_values,
    head_classes,
    head_table,
    height_mm,
    organs,
    place_values,
    region,
    totalsegmentator_values,
    type_of,
)
from resources.reports.vocabulary import places
from resources.synthetic.files import organ_values
from resources.synthetic.organs import ORGANS
from resources.synthetic.report_plan import FINDING_OF
from resources.synthetic.report_sampler import HOMES

SYNTHETIC = organ_values()


def test_names_of_other_maps() -> None:
    assert canonical("gall bladder") == ("gallbladder", None)
    assert canonical("left kidney") == ("kidney", "left")
    assert canonical("adrenal_gland_right") == ("adrenal gland", "right")
    assert canonical("vertebrae_L5") == ("vertebra", None)
    assert canonical("vertebrae_S1") == canonical("sacrum") == ("sacrum", None)
    assert canonical("rib_left_3") == ("rib", "left")
    assert canonical("tumour bed") == ("tumour bed", None)  # a map may have classes of its own


def test_what_lies_in_what() -> None:
    assert region("spine") == {"spine", "vertebra", "disc", "spinal canal", "sacrum"}
    assert {"liver", "renal pelvis", "mesentery", "mesenteric lymph node"} <= region("abdomen")
    assert "liver" not in region("pelvis") | region("chest") | region("retroperitoneum")
    assert type_of("vertebrae_L5") == "bone"
    assert type_of("lymph node") is None


def test_values_by_organ_and_side() -> None:
    values = {"liver": (1, 2), "left kidney": (3,), "right kidney": (4,)}
    assert exact_values(values, "liver") == (1, 2)
    assert exact_values(values, "kidney") == exact_values(values, "kidney", "both") == (3, 4)
    assert exact_values(values, "kidney", "right") == (4,)
    assert exact_values(values, "spleen") == ()
    both_ways = {"kidney": (3, 4), "left kidney": (3,), "right kidney": (4,), "bone": (9,)}
    assert exact_values(both_ways, "kidney") == (3, 4)
    assert exact_values(both_ways, "kidney", "left") == (3,)
    assert exact_values(both_ways, "bone", "left") == (9,)


def test_a_place_may_be_wider_than_the_organ_and_what_is_cleared_may_not() -> None:
    values = {"bowel": (5,), "abdominal fat": (6,), "lung": (7,)}
    assert place_values(values, "duodenum") == (5,)
    assert exact_values(values, "duodenum") == ()
    assert place_values(values, "mesentery") == (5, 6)
    assert place_values(values, "pleura") == (7,)
    assert place_values(values, "lymph node", None, "abdomen") == (5, 6)
    assert place_values(values, "lymph node") == ()


def test_a_map_without_fat_cannot_tell_where_a_region_ends() -> None:
    values = totalsegmentator_values()
    assert place_values(values, "abdomen") == place_values(values, "mesentery") == ()
    assert place_values(values, "spine") == (25, 26, *range(27, 51), 79)
    assert place_values(values, "kidney", "left") == (3, 23)
    assert exact_values(values, "liver") == (5,)


def test_every_organ_that_reader_or_writer_can_name_has_a_place_or_says_why_not() -> None:
    named = {place.organ for place in places().values()}
    named |= {organ for organ, _ in FINDING_OF.values() if organ is not None}
    named |= {home.organ for part in HOMES.values() for home in part}
    named |= {organ.name for organ in ORGANS.values()}
    for name in sorted(named):
        organ = canonical(name)[0]
        assert organ in organs(), name
        assert place_values(SYNTHETIC, name) or organs()[organ].note, name
    for name in (
        "spine",
        "abdomen",
        "upper abdomen",
        "para-aortic lymph node",
        "mediastinal lymph node",
        "bone",
    ):
        assert place_values(SYNTHETIC, name), name


def test_every_place_of_the_reader_has_the_type_of_its_organ() -> None:
    for place in places().values():
        if place.name == place.organ:
            assert organs()[place.organ].type == place.type, place.name


def test_heights_come_from_the_organ_or_what_it_lies_in() -> None:
    assert height_mm("liver") == ((-230.0, 110.0), None)
    assert height_mm("rectum")[0] == (-float("inf"), -220.0)
    assert height_mm("mesenteric lymph node") == height_mm("mesentery")
    assert height_mm("no such organ") == (None, None)


def test_classes_of_the_organ_head() -> None:
    classes = head_classes()
    assert classes[0] == "background"
    assert len(classes) == len(set(classes)) == 30
    table = head_table(SYNTHETIC, 120)
    for key, expected in (
        ("background", "background"),
        ("L3", "spine"),
        ("kidney left", "kidney"),
        ("colon", "bowel"),
    ):
        assert classes[table[list(ORGANS).index(key)]] == expected
    assert table[120] == -1
    own = {name: (number,) for number, name in enumerate(classes)}
    assert place_values(own, "clavicle") == (classes.index("shoulder girdle"),)


@pytest.mark.parametrize("organ", sorted(organs()))
def test_parents_have_rows(organ: str) -> None:
    row = organs()[organ]
    assert all(name in organs() for name in (*row.parents, *row.within)), organ

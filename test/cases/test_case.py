import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import LESION_TYPES
from resources.cases.case import (
    Annotation,
    Case,
    CaseError,
    Completeness,
    Finding,
    ImageSource,
    read_cases,
    write_cases,
)

IMAGE = {"path": "a.mha", "size": [10, 20, 5]}
LINE: dict[str, Any] = {"id": "a", "patient": "p", "source": "s", "split": "train", "image": IMAGE}


def refusal(tmp_path: Path, **changes: Any) -> str:
    """The error of a file whose second line is changed, without the file's name."""
    path = tmp_path / "cases.jsonl"
    good = {**LINE, "id": "first", "image": {"path": "b.mha"}}
    path.write_text(json.dumps(good) + "\n" + json.dumps({**LINE, **changes}) + "\n", encoding="utf-8")
    with pytest.raises(CaseError) as error:
        read_cases(path)
    text = str(error.value)
    assert text.startswith(f"{path}")
    assert "\n" not in text
    return text.removeprefix(str(path))


def test_paths_are_relative_to_the_file_and_everything_comes_back(tmp_path: Path) -> None:
    case = Case(
        id="site/a",
        patient="p1",
        source="in-house",
        split=None,
        image=ImageSource(str(tmp_path / "scans" / "a.mha"), size=(10, 20, 5)),
        annotations=(
            Annotation("mask", "liver", mask=str(tmp_path / "m.nii.gz"), label=2, long_mm=9.0, short_mm=4.0),
            Annotation("box3d", lower=(0, 0, 0), upper=(9.5, 1, 2), status="benign", attributes={"a": True}),
            Annotation("recist", None, "mm", long=((-900, 0, 0), (5, 0, 0)), short=((2, 1, 0), (2, -1, 0))),
            Annotation("point", point=(1.5, 2.25, 3)),
        ),
        completeness=Completeness(
            "organs", organs=("liver",), organ_labels=str(tmp_path / "o.nii"), organ_values={"liver": (5, 6)}
        ),
        findings=(
            Finding(
                "liver", "liver", count="several", sizes_mm=(12.0, 9.5), images=(41,), character="suspicious"
            ),
            Finding(None, None, count=None, presence="absent", span=(3, 30), language="nl"),
        ),
        report=str(tmp_path / "reports" / "a.txt"),
        attributes={"age": 61.0, "sex": "F", "contrast": True},
    )
    path = tmp_path / "lists" / "cases.jsonl"
    write_cases(path, [case])
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored["image"]["path"] == "../scans/a.mha"
    assert stored["report"] == "../reports/a.txt"
    assert read_cases(path) == [case]
    assert sorted(p.name for p in path.parent.iterdir()) == ["cases.jsonl"]


numbers = st.floats(-1e6, 1e6)
points = st.tuples(numbers, numbers, numbers)
cases = st.builds(
    Case,
    id=st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True),
    patient=st.sampled_from(["x", "ÿ - 2"]),
    source=st.just("s"),
    split=st.sampled_from(["train", "validation", "test", None]),
    image=st.builds(ImageSource, path=st.just("/data/a.mha")),
    annotations=st.tuples(
        st.builds(Annotation, st.just("point"), st.sampled_from([*LESION_TYPES, None]), point=points)
    ),
    findings=st.tuples(st.builds(Finding, st.none(), st.none(), sizes_mm=st.tuples(st.floats(0.1, 99)))),
    attributes=st.dictionaries(
        st.text(max_size=5), st.text(max_size=9) | st.booleans() | numbers, max_size=3
    ),
)


@settings(max_examples=50, deadline=None)
@given(case=cases)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, case: Case) -> None:
    path = tmp_path_factory.mktemp("cases") / "cases.jsonl"
    write_cases(path, [case])
    assert read_cases(path) == [case]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"colour": 1}, "colour: expected only id, patient"),
        ({"image": {"path": "a", "gantry": 1}}, "image.gantry: expected only path"),
        ({"image": {}}, "image.path: expected a value, found none"),
        ({"split": "dev"}, "split: expected one of train, validation, test, found dev"),
        ({"id": "../a"}, "id: expected a name usable as a relative path, found ../a"),
        ({"id": 5}, "id: expected a text, found 5"),
        (
            {"annotations": [{"kind": "circle"}]},
            "annotations[0].kind: expected one of mask, box3d, recist, point",
        ),
        (
            {"annotations": [{"kind": "point"}]},
            "annotations[0].point: expected a value for kind point, found none",
        ),
        ({"annotations": [{"kind": "point", "point": [1, 2]}]}, "annotations[0].point: expected 3 values"),
        (
            {"annotations": [{"kind": "point", "point": [1, 2, True]}]},
            "annotations[0].point[2]: expected a number",
        ),
        (
            {"annotations": [{"kind": "point", "point": [1, 2, 4.6]}]},
            "annotations[0]: expected inside the image of 10 x 20 x 5 voxels, found (1, 2, 4.6)",
        ),
        (
            {"annotations": [{"kind": "box3d", "lower": [1, 1, 1], "upper": [0, 2, 2]}]},
            "annotations[0].upper: expected lower corner <= upper corner",
        ),
        (
            {"annotations": [{"kind": "recist", "long": [[1, 1, 1], [1, 5, 2]]}]},
            "annotations[0].long: expected all end points on one axial slice, found z [1.0, 2.0]",
        ),
        (
            {"annotations": [{"kind": "mask", "mask": "m.nii", "label": 0}]},
            "annotations[0].label: expected a value",
        ),
        ({"findings": [{"type": "toe", "organ": None}]}, "findings[0].type: expected one of bone"),
        ({"findings": [{"type": None}]}, "findings[0].organ: expected a value, found none"),
        ({"findings": [{"type": None, "organ": "Liver"}]}, "findings[0].organ: expected a lower-case name"),
        (
            {"findings": [{"type": None, "organ": None, "presence": "absent"}]},
            "findings[0].count: expected null exactly for absent findings, found 1 with presence absent",
        ),
        (
            {"findings": [{"type": None, "organ": None, "count": "many"}]},
            "findings[0].count: expected int or",
        ),
        (
            {"findings": [{"type": None, "organ": None, "sizes_mm": [0]}]},
            "findings[0].sizes_mm: expected at most 3",
        ),
        (
            {"completeness": {"kind": "slices"}},
            "completeness.slices: expected a value for kind slices, found none",
        ),
        (
            {"completeness": {"kind": "all", "slices": [0, 1]}},
            "completeness.slices: expected none for kind all",
        ),
        ({"completeness": {"kind": "slices", "slices": [0, 5]}}, "completeness.slices: expected below 5"),
        (
            {"completeness": {"kind": "organs", "organs": ["liver"]}},
            "completeness.organ_values: expected the values",
        ),
        ({"attributes": {"a": [1]}}, "attributes.a: expected str or float or bool, found [1]"),
    ],
)
def test_refusals_name_line_and_field(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    assert refusal(tmp_path, **changes).startswith(f", line 2: {expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "line: expected one JSON object, found {"),
        ("\n", "line: expected one JSON object, found an empty line"),
        ("[]", "line: expected an object, found []"),
        ('{"id": "a", "id": "b"}', "line: expected each key once"),
        ('{"id": NaN}', "line: expected finite numbers, found NaN"),
        ('{"id": 1e999}', "line: expected finite numbers, found 1e999"),
    ],
)
def test_lines_that_are_no_cases(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CaseError) as error:
        read_cases(path)
    assert str(error.value).startswith(f"{path}, line 1: {expected}")


def test_lists_that_contradict_themselves(tmp_path: Path) -> None:
    assert refusal(tmp_path, id="first") == ": case first: id: expected a unique id, found it twice"
    assert refusal(tmp_path, split="test") == (
        ": case a: split: expected patient p in one split, found train and test"
    )
    assert refusal(tmp_path, image={"path": "b.mha"}) == (
        ": case a: image: expected one case an image, found that of case first"
    )


def test_a_list_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text("before", encoding="utf-8")
    case = Case("a", "1", "x", "train", ImageSource("a.mha"))
    with pytest.raises(CaseError, match="unique id"):
        write_cases(path, [case, case])
    assert [p.read_text(encoding="utf-8") for p in tmp_path.iterdir()] == ["before"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"nowhere\.jsonl: expected a UTF-8 file of cases"):
        read_cases(tmp_path / "nowhere.jsonl")

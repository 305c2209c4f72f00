"""A hospital's CSV: marks in both units, reports, pseudonyms, splits, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cases.layouts import scan

from helpers import image_of, phantom
from resources.cases.case import Case, CaseError
from resources.cases.inhouse import Settings, convert
from resources.cases.organs import exact_values
from resources.cases.patients import pseudonym, read_or_make_key, split_of

HEAD = "scan,patient,kind,unit,x1,y1,z1,x2,y2,z2,x3,y3,z3,x4,y4,z4,long_mm,type\n"
RECIST = "a.nii.gz,Jansen,recist,voxel,10,20,4,30,20,4,20,15,4,20,25,4"


def converted(folder: Path, text: str, key: bytes | None = None, reports: Path | None = None) -> list[Case]:
    scan(folder)
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return convert(folder / "t.csv", Settings("site", reports, folder / "texts", key, 0.0, 0.0))


def test_marks_of_all_kinds_in_voxels_and_mm(tmp_path: Path) -> None:
    # voxel (10, 20, 4) is at mm (100 - 5, 50 - 10, -20 + 12)
    text = HEAD + (
        f"{RECIST},10,liver\n"
        "a.nii.gz,Jansen,recist,mm,95,40,-8,85,40,-8,,,,,,,,\n"
        "a.nii.gz,Jansen,point,voxel,1,2,3,,,,,,,,,,7,\n"
        "a.nii.gz,Jansen,box,mm,95,40,-8,90,45,-2,,,,,,,,lung\n"
    )
    (case,) = converted(tmp_path, text)
    first, second, point, box = case.annotations
    assert (first.long, first.short) == (((10, 20, 4), (30, 20, 4)), ((20, 15, 4), (20, 25, 4)))
    assert (first.long_mm, first.short_mm, first.type) == (10, 5, "liver")
    np.testing.assert_allclose(second.long, first.long)
    assert (point.point, point.long_mm) == ((1, 2, 3), 7)
    np.testing.assert_allclose((box.lower, box.upper), [[10, 10, 4], [20, 20, 6]])
    assert (case.patient, case.image.size, case.completeness.kind) == ("site-Jansen", (40, 40, 10), "none")


def test_a_scan_without_marks_and_its_report(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "x1.txt").write_text("No lesions.", encoding="utf-8")
    (case,) = converted(tmp_path, "scan,patient,id,complete\na.nii.gz,B,x1,all\n", reports=tmp_path / "given")
    assert (case.id, case.annotations, case.completeness.kind) == ("x1", (), "all")
    assert case.report == str(tmp_path / "given" / "x1.txt")
    (case,) = converted(tmp_path, 'scan,patient,report\na.nii.gz,B,"Levermetastase, 2 cm."\n')
    assert case.report is not None
    assert Path(case.report).read_text(encoding="utf-8") == "Levermetastase, 2 cm."


def test_semicolons_and_decimal_commas_as_excel_writes_them(tmp_path: Path) -> None:
    english = HEAD + "a.nii.gz,Jansen,point,voxel,1,2,3,,,,,,,,,,7.5,lung\n"
    dutch = english.replace(",", ";").replace("7.5", "7,5")
    (one,) = converted(tmp_path, english)
    (other,) = converted(tmp_path, dutch)
    assert other.annotations == one.annotations
    assert other.annotations[0].long_mm == 7.5
    (case,) = converted(tmp_path, "\ufeffscan;patient;report\na.nii.gz;B;Levermetastase, 2 cm.\n")
    assert case.report is not None
    assert Path(case.report).read_text(encoding="utf-8") == "Levermetastase, 2 cm."


def test_pseudonyms_need_the_key_and_stay_the_same(tmp_path: Path) -> None:
    key = read_or_make_key(tmp_path / "key")
    assert read_or_make_key(tmp_path / "key") == key
    assert (tmp_path / "key").stat().st_mode & 0o77 == 0
    (case,) = converted(tmp_path, HEAD + RECIST + ",,\n", key)
    assert case.patient == f"site-{pseudonym('Jansen', key)}"
    assert "Jansen" not in case.patient + case.id
    assert pseudonym("Jansen", b"other") != pseudonym("Jansen", key)
    (tmp_path / "bad").write_text("secret", encoding="utf-8")
    with pytest.raises(CaseError, match="expected a key of 64 hexadecimal digits, found 6"):
        read_or_make_key(tmp_path / "bad")


def test_splits_by_patient_are_stable_and_near_their_shares() -> None:
    splits = [split_of(f"p{i}", 0.1, 0.2) for i in range(4000)]
    assert splits == [split_of(f"p{i}", 0.1, 0.2) for i in range(4000)]
    assert splits.count("test") == pytest.approx(800, abs=100)
    assert splits.count("validation") == pytest.approx(400, abs=75)
    with pytest.raises(CaseError, match="add to at most 1"):
        split_of("p", 0.6, 0.6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scan,name\n", "line 1: expected the column patient, found scan, name"),
        ("scan,patient,color\n", "line 1: expected only scan, patient, id"),
        ("scan,patient\n", "expected at least one row, found none"),
        ("scan,patient\na.nii.gz\n", "line 2: expected 2 fields"),
        ("scan,patient\n,B\n", "line 2: scan: expected a value, found none"),
        ("scan,patient\nb.nii.gz,B\n", "line 2: "),
        (
            "scan,patient,split\na.nii.gz,B,dev\n",
            "line 2: split: expected one of train, validation, test, found dev",
        ),
        (
            HEAD + RECIST + ",20,\n",
            "line 2: long_mm: expected 10 mm as between the end points, found 20 (it fits pix",
        ),
        (
            HEAD + RECIST.replace("30,20,4", "41,20,4") + ",,\n",
            "line 2: coordinates: expected points inside 40 x 40",
        ),
        (
            HEAD + "a.nii.gz,B,point,voxel,95,40,-8,,,,,,,,,,,\n",
            "(as mm it would lie inside: is unit right?)",
        ),
        (HEAD + "a.nii.gz,B,point,mm,1,2,3,,,,,,,,,,,\n", "(as voxels it would lie inside: is unit right?)"),
        (
            HEAD + RECIST.replace("30,20,4", "30,20,6") + ",,\n",
            "line 2: z1: expected end points on one slice",
        ),
        (HEAD + RECIST + ",,toe\n", "line 2: type: expected one of bone"),
        (HEAD + RECIST.replace("voxel", "cm") + ",,\n", "line 2: unit: expected voxel or mm, found cm"),
        (
            HEAD + "a.nii.gz,B,box,voxel,1,2,3,,,,,,,,,,,\n",
            "coordinates: expected x1 to z2 for a box, found x1, y1, z1",
        ),
        (HEAD + f"{RECIST},,\n{RECIST},,\n", "line 3: kind: expected each mark once"),
        (
            HEAD + f"{RECIST},,\n{RECIST.replace('Jansen', 'Bos')},,\n",
            "line 3: patient: expected Jansen as before",
        ),
        (HEAD + "a.nii.gz,B,,voxel,1,2,3,,,,,,,,,,,\n", "line 2: kind: expected point, box or recist"),
    ],
)
def test_refusals(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(CaseError) as error:
        converted(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 't.csv'}")
    assert expected in str(error.value)


def test_organ_maps_of_totalsegmentator_are_taken_where_there_are_some(tmp_path: Path) -> None:
    image = image_of(phantom((20, 24, 28)), (2.0, 2.0, 3.0))
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    sitk.WriteImage(image, str(tmp_path / "b.nii.gz"))
    labels = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    labels.CopyInformation(image)
    labels[4, 5, 6] = 5
    maps = tmp_path / "maps"
    maps.mkdir()
    sitk.WriteImage(labels, str(maps / "one.nii.gz"))
    table = tmp_path / "table.csv"
    table.write_text("scan,patient,id\na.nii.gz,p,one\nb.nii.gz,q,two\n", encoding="utf-8")
    settings = Settings("site", None, tmp_path / "texts", None, 0.0, 0.0, maps)
    one, two = convert(table, settings)
    assert one.completeness.organ_labels == str(maps / "one.nii.gz")
    assert exact_values(one.completeness.organ_values, "liver") == (5,)
    assert two.completeness.organ_labels is None
    sitk.WriteImage(labels[1:], str(maps / "two.nii.gz"))
    with pytest.raises(CaseError, match=r"line 3: .*expected a mask of the image's"):
        convert(table, settings)

"""From a seed to what training knows of each voxel, through files."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from resources.cases.cache import LESIONS, build, open_scan
from resources.cases.cache import Job as CacheJob
from resources.cases.case import Case, Finding, read_cases
from resources.cases.describe import check_files, describe, draw
from resources.synthetic.__main__ import main as make_scans
from resources.training.targets.states import NEGATIVE, POSITIVE, states_of


def reported(case: Case) -> Case:
    """The case with every other mark left out and a report that omits no lesion and clears organs."""
    findings = [
        Finding(a.type, str(a.attributes["organ"]), sizes_mm=(a.long_mm, a.short_mm), character="suspicious")  # type: ignore[arg-type]
        for a in case.annotations
    ]
    affected = {finding.organ for finding in findings}
    findings += [
        Finding(None, organ, count=None, presence="absent")
        for organ in ("liver", "spleen", "pancreas", "stomach")
        if organ not in affected
    ]
    known = dataclasses.replace(case.completeness, kind="none")
    return dataclasses.replace(
        case, annotations=case.annotations[::2], findings=tuple(findings), completeness=known
    )


@pytest.mark.slow
def test_no_voxel_of_a_lesion_is_denied_if_the_report_omits_none(tmp_path: Path) -> None:
    plan = [
        "--count",
        "1",
        "--site",
        "A",
        "--coverage",
        "upper abdomen",
        "--lesions",
        "6",
        "--spacing-mm",
        "3",
    ]
    plan += ["--seed", "52", "--split", "train", "--processes", "1", "--out", str(tmp_path / "made")]
    assert make_scans(plan) == 0
    (full,) = read_cases(tmp_path / "made" / "cases.jsonl")
    full = dataclasses.replace(full, annotations=tuple(a for a in full.annotations if a.status == "lesion"))
    weak = reported(full)
    assert 0 < len(weak.annotations) < len(full.annotations)
    check_files(weak)
    build(CacheJob(full, tmp_path / "cache", 2.0, 8))
    scan = open_scan(tmp_path / "cache" / f"{full.id}.b2nd")
    lesion = np.asarray(scan.array[LESIONS]) > 0
    state = states_of(weak, scan, stride=1).state
    assert not (lesion & (state == NEGATIVE)).any()
    assert (state == NEGATIVE).sum() > 5000  # of the organs that the report clears
    assert (state[lesion] == POSITIVE).any()
    complete = states_of(full, scan, stride=1).state
    np.testing.assert_array_equal(complete == POSITIVE, lesion)
    np.testing.assert_array_equal(complete == NEGATIVE, ~lesion)
    draw([weak], tmp_path / "b.png")
    text = describe([weak])
    assert "1 scan of 1 patient," in text
    assert "split: train 1, no validation, no test\n" in text

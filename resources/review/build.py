"""The pages of an output folder: which scans it holds, where they lie, and one page for each of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from model.exports import Results, read_results
from model.files import write_whole
from model.inputs import find_inputs
from model.structured_report import read_headers
from model.volume import InputError, Volume
from resources.cases.case import Case, CaseError, ImageSource, read_cases, write_cases
from resources.cases.images import read_case_volume
from resources.cases.strict import encode
from resources.cases.work import part_of
from resources.review.page import Numbering, page_of
from resources.review.second_look import look_again
from resources.review.slices import reduced_copy, thumbnail

CASES = "cases.jsonl"
PAGE = "review.html"
THUMBNAIL = "review.jpg"
SUMMARY = "summary.html"
FACTS = "review-facts.json"
SAME_PLACE = 0.05
"""Share of the slice interval by which a DICOM slice may lie beside the slice it is taken for."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A page to make. folder: with the scan's results. report: its text, if there is one."""

    case: Case
    folder: Path
    report: Path | None = None


def jobs_of(
    out: Path,
    scans: Path | None = None,
    cases: Path | None = None,
    report: Path | None = None,
    part: str = "1/1",
) -> list[Job]:
    """What there is to do in an output folder: every case that has results there.

    cases: the case list that the results were made from. scans: the input of process.py; a case list of it
    is written into the folder, OUT/cases.jsonl, and is what is used when neither is given. report: a text,
    or a folder of texts named ID.txt; else that of the case. part: I/N, every N-th case of the list from the
    I-th, whether it has results or not: so that the tasks of an array divide the list as resources.predict
    does. Raises InputError, CaseError.
    """
    if not out.is_dir():
        raise InputError(f"{out}: expected a folder with results, found none")
    single = (out / "lesion-details.json").exists()
    if cases is None:
        cases = out / CASES
        if scans is not None:
            _write_list(cases, scans, single)
        elif not cases.exists():
            raise InputError(f"{cases}: expected where the scans lie, found no such file: give --scans")
    listed = read_cases(cases)
    if single and len(listed) != 1:
        raise CaseError(f"{cases}: expected one case for results of one scan, found {len(listed)}")
    placed = [(case, out if single else out / case.id) for case in listed]
    jobs = [
        Job(case, folder, _report_of(case, report))
        for case, folder in placed
        if (folder / "lesion-details.json").exists()
    ]
    if not jobs:
        raise InputError(f"{out}: expected results of the scans in {cases}, found none")
    chosen = {case.id for case in part_of(listed, part)}
    return [job for job in jobs if job.case.id in chosen]


def _write_list(path: Path, scans: Path, single: bool) -> None:
    inputs = find_inputs(scans)
    if inputs.single != single and len(inputs.scans) != 1:
        raise InputError(f"{scans}: expected the one scan that the results are of, found {len(inputs.scans)}")
    cases = []
    for scan in inputs.scans:
        reader: Any = "dicom" if scan.path.is_dir() else "itk"
        image = ImageSource(str(scan.path.absolute()), reader, scan.series)
        cases.append(Case(scan.case_id, scan.case_id, "review", None, image))
    write_cases(path, cases)


def _report_of(case: Case, report: Path | None) -> Path | None:
    """The report's file: that given, or ID.txt in the folder given or beside the scan, or the case's own."""
    if report is not None and report.is_dir():
        named = report / f"{case.id}.txt"
        return named if named.exists() else None
    if report is not None:
        if not report.exists():
            raise InputError(f"{report}: expected a report or a folder of reports, found nothing")
        return report
    if case.report is not None:
        return Path(case.report)
    beside = Path(case.image.path).parent / f"{case.id.rpartition('/')[2]}.txt"
    return beside if beside.exists() else None


def numbering_of(case: Case, volume: Volume) -> Numbering:
    """Slice numbers as a workstation shows them: DICOM's instance numbers, else from 1 at the head."""
    count = volume.hu.shape[0]
    path = Path(case.image.path)
    if path.is_dir() and case.image.reader == "dicom":
        numbers: list[int | None] = [None] * count
        for header in read_headers(path, case.image.series):
            index = volume.world_to_index([[float(mm) for mm in header.ImagePositionPatient]])[0]
            k = round(float(index[2]))
            near = abs(float(index[2]) - k) < SAME_PLACE
            if near and 0 <= k < count and header.get("InstanceNumber") is not None:
                numbers[k] = int(header.InstanceNumber)
        if all(number is not None for number in numbers):
            return Numbering(
                tuple(n for n in numbers if n is not None), "Slices are DICOM's instance numbers"
            )
    if case.image.reader == "deeplesion" and case.image.slices is not None:
        first = case.image.slices[0]
        return Numbering(tuple(range(first, first + count)), "Slices are numbered as DeepLesion's files")
    up = volume.direction[2, 2] > 0
    ordered = range(count, 0, -1) if up else range(1, count + 1)
    return Numbering(tuple(ordered), "Slices are counted from 1 at the head")


def make_page(job: Job) -> int:
    """Writes a scan's page, thumbnail and facts; the page's bytes. Raises InputError, OSError.

    The facts are what the overview cannot read from the results: how many lesions of the report were not
    detected. They are written last: a folder that has newer facts than results is complete.
    """
    results = read_results(job.folder)
    volume = read_case_volume(job.case)
    _check_same_scan(job, results, volume)
    copy = reduced_copy(volume)
    look = None
    if job.report is not None:
        look = look_again(_text_of(job.report), results.detections, volume)
    html = page_of(job.case.id, results, volume, copy, numbering_of(job.case, volume), look)
    top = results.detections[0].point_mm if results.detections else _middle(volume)
    write_whole(job.folder / THUMBNAIL, thumbnail(copy, top))
    page = html.encode()
    write_whole(job.folder / PAGE, page)
    facts = {"lost": None if look is None else sum(look.lost.values()), "made_from": digest_of(job)}
    write_whole(job.folder / FACTS, (json.dumps(facts) + "\n").encode())
    return len(page)


def digest_of(job: Job) -> str:
    """Of all that a page is made from, but for the scan itself: results, case, report and this package."""
    digest = hashlib.sha256(json.dumps(encode(job.case), sort_keys=True).encode())
    parts = [job.folder / name for name in ("lesion-points.json", "lesion-details.json")]
    parts += [] if job.report is None else [job.report]
    sources = [
        path for path in Path(__file__).parent.iterdir() if path.suffix in (".py", ".js", ".j2", ".css")
    ]
    for path in [*parts, *sorted(sources)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def is_done(job: Job) -> bool:
    """Whether the page is there, made from the same results, report and code."""
    try:
        facts = json.loads((job.folder / FACTS).read_bytes())
        return (job.folder / PAGE).exists() and bool(facts["made_from"] == digest_of(job))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _text_of(path: Path) -> str:
    from resources.reports.__main__ import read_text

    return read_text(path)


def _middle(volume: Volume) -> list[float]:
    middle = (np.array(volume.hu.shape[::-1]) - 1) / 2
    return [float(mm) for mm in volume.index_to_world([middle])[0]]


def _check_same_scan(job: Job, results: Results, volume: Volume) -> None:
    """Raises InputError where a detection lies outside the scan: then the results are of another one."""
    points = [d.point_mm for d in results.detections]
    if not points:
        return
    index = volume.world_to_index(points)
    if ((index < -1) | (index > np.array(volume.hu.shape[::-1]))).any():
        raise InputError(
            f"{job.folder}: expected results of {job.case.image.path}, found points outside this scan"
        )

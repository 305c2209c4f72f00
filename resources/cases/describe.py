"""What a list of cases holds, in counts and in a figure; and whether its files are there and fit."""

from __future__ import annotations

import bisect
import collections
from pathlib import Path

import numpy as np

from model.files import whole
from model.geometry import Geometry
from model.volume import InputError
from resources.cases.case import Annotation, Case
from resources.cases.images import check_same_grid, read_case_volume, read_header, read_labels
from resources.cases.strict import CaseError
from resources.cli import counted

SIZE_EDGES_MM = (0, 5, 10, 20, 30, 50)


def check_files(case: Case) -> None:
    """All files of a case exist and fit: size of the image, grid of masks, labels, marks inside the image.

    Only of DICOM and DeepLesion are the voxels read too. Raises CaseError or InputError.
    """
    path = Path(case.image.path)
    if not path.exists():
        raise CaseError(f"case {case.id}: image: expected {path}, found nothing there")
    if case.report is not None and not Path(case.report).is_file():
        raise CaseError(f"case {case.id}: report: expected {case.report}, found nothing there")
    place = read_header(path) if case.image.reader == "itk" else read_case_volume(case).geometry
    size = place.size
    if case.image.size not in (None, size):
        raise CaseError(f"case {case.id}: image.size: expected {case.image.size}, found {size}")
    for number, a in enumerate(case.annotations):
        if not _inside(a, place):
            raise CaseError(f"case {case.id}: annotations[{number}]: expected it inside the image of {size}")
    _check_labels(case, place)


def _inside(a: Annotation, place: Geometry) -> bool:
    corners = [a.lower, a.upper, a.point, *(end for axis in (a.long, a.short) if axis for end in axis)]
    points = np.array([corner for corner in corners if corner is not None]).reshape(-1, 3)
    if a.frame == "mm":
        points = place.world_to_index(points)
    limit = np.array(place.size) - 0.5 + 1e-6
    return not bool(((points < -0.5 - 1e-6) | (points > limit)).any())


def _check_labels(case: Case, place: Geometry) -> None:
    wanted: dict[str, set[int]] = collections.defaultdict(set)
    for a in case.annotations:
        if a.mask is not None and a.label is not None:
            wanted[a.mask].add(a.label)
    if case.completeness.organ_labels is not None:
        wanted[case.completeness.organ_labels] |= set()
    for name, values in wanted.items():
        labels = read_labels(Path(name))
        check_same_grid(Path(name), labels, place)
        missing = values - set(np.unique(labels.values).tolist())
        if missing:
            raise InputError(f"{name}: expected voxels of label {min(missing)}, found none")


def describe(cases: list[Case]) -> str:
    """Counts by source, split, completeness, kind, type and size, as a text of several lines."""
    lines = []
    annotations = [(case, a) for case in cases for a in case.annotations]
    patients = {case.patient for case in cases}
    findings = sum(len(case.findings) for case in cases)
    reports = sum(case.report is not None for case in cases)
    scans = f"{counted(len(cases), 'scan')} of {counted(len(patients), 'patient')}"
    lines.append(f"{scans}, {len(annotations)} annotations, {reports} reports, {findings} findings")
    for source, own in _by_source(cases).items():
        people = counted(len({case.patient for case in own}), "patient")
        marks = sum(len(case.annotations) for case in own)
        lines.append(f"  {source}: {counted(len(own), 'scan')} of {people}, {marks} annotations")
    for title, counts in (
        ("split", collections.Counter(str(case.split) for case in cases)),
        ("complete", collections.Counter(case.completeness.kind for case in cases)),
        ("kind", collections.Counter(a.kind for _, a in annotations)),
        ("status", collections.Counter(a.status for _, a in annotations)),
        ("type", collections.Counter(a.type or "unknown" for _, a in annotations)),
        ("long axis, mm", collections.Counter(_size(a.long_mm) for _, a in annotations)),
        ("annotations per scan", collections.Counter(min(len(case.annotations), 10) for case in cases)),
    ):
        shown = ", ".join(
            f"{name} {count}" for name, count in sorted(counts.items(), key=lambda x: str(x[0]))
        )
        if title == "split":
            shown += "".join(f", no {name}" for name in ("train", "validation", "test") if name not in counts)
        lines.append(f"{title}: {shown}")
    return "\n".join(lines)


def _by_source(cases: list[Case]) -> dict[str, list[Case]]:
    names = sorted({case.source for case in cases})
    return {name: [case for case in cases if case.source == name] for name in names}


def _size(long_mm: float | None) -> str:
    """Name of the interval that holds a long axis."""
    if long_mm is None:
        return "unknown"
    place = bisect.bisect(SIZE_EDGES_MM, long_mm)
    low, high = [*SIZE_EDGES_MM, None][place - 1 : place + 1]
    return f"{low:02d} to {high}" if high else f"{low} up"


def draw(cases: list[Case], path: Path) -> None:
    """The same counts as bars, stacked by source, and the long axes as a histogram; a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    groups = _by_source(cases)
    figure, panels = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    count_by = (
        ("Scans by split", lambda case: [str(case.split)]),
        ("Scans by complete part", lambda case: [case.completeness.kind]),
        ("Annotations by type", lambda case: [a.type or "unknown" for a in case.annotations]),
    )
    for panel, (title, key) in zip(panels.flat[:3], count_by, strict=True):
        tallies = {
            name: collections.Counter(k for c in group for k in key(c)) for name, group in groups.items()
        }
        names = sorted({k for counts in tallies.values() for k in counts})
        left = np.zeros(len(names))
        for source, counts in tallies.items():
            values = np.array([counts[name] for name in names], float)
            panel.barh(names, values, left=left, label=source)
            left += values
        for name, total in zip(names, left, strict=True):
            panel.annotate(f" {total:,.0f}", (total, name), va="center", fontsize=8)
        panel.set_title(title, loc="left")
        panel.margins(x=0.15)
    panel = panels[1, 1]
    edges = np.geomspace(2, 200, 25)
    sizes = [[a.long_mm for c in group for a in c.annotations if a.long_mm] for group in groups.values()]
    panel.hist(sizes, edges, stacked=True, label=list(groups))
    panel.set_xscale("log")
    panel.set_xticks([2, 5, 10, 20, 50, 100, 200], ["2", "5", "10", "20", "50", "100", "200"])
    panel.set_title("Long axial diameter, mm", loc="left")
    panel.legend(fontsize=8)
    with whole(path, ".png") as part:
        figure.savefig(part, dpi=110)
    plt.close(figure)

"""A synthetic scan as files, and as cases: with its whole truth, and as weak annotators leave it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model.files import whole
from model.geometry import image_of
from model.volume import Volume
from resources.cases.case import Annotation, Attributes, Case, Completeness, Finding, ImageSource
from resources.cases.organs import canonical
from resources.synthetic.generate import Order, SyntheticScan, make_scan
from resources.synthetic.organs import ORGANS
from resources.synthetic.report_phrases import Language
from resources.synthetic.report_sentences import Mention
from resources.synthetic.report_writer import write_report
from resources.synthetic.truth import TrueLesion, TrueScan
from resources.synthetic.weak import View, deeplesion_view, key_images, mask_view, point_view, report_view

TRUTH = "truth.json"
VIEWS = ("deeplesion", "some masks", "points", "report")
MASKED_SHARE = 0.3
"""Share of the lesions that have a mask in the view "some masks"."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One scan to make. maps: folder of label maps of real people, or None."""

    order: Order
    folder: Path
    maps: Path | None


def scan_id(order: Order) -> str:
    return f"{order.site}-{order.seed:07d}"


def make_files(job: Job) -> None:
    """Makes a scan and writes its folder, all or nothing: a folder under its own name is complete."""
    with whole(job.folder / scan_id(job.order)) as part:
        part.mkdir()
        write_scan(part, make_scan(job.order, job.maps), job.order)


def write_scan(folder: Path, scan: SyntheticScan, order: Order) -> None:
    """image.mha, lesions.mha, organs.mha, report.txt, the slices that DeepLesion's view keeps, truth.json."""
    write_image(folder / "image.mha", scan.volume.hu, scan.volume)
    write_image(folder / "lesions.mha", scan.lesions, scan.volume)
    write_image(folder / "organs.mha", scan.organs, scan.volume)
    language: Language = "en" if order.seed % 2 else "nl"
    images = key_images(scan.truth, scan.lesions, scan.volume.spacing_mm)
    report = write_report(scan.truth, language, order.site, order.seed, images)
    (folder / "report.txt").write_text(report.text, encoding="utf-8")
    views = {name: _views(name, scan, order.seed) for name in VIEWS}
    for number, view in enumerate(views["deeplesion"]):
        first, last = view.slices
        write_image(folder / f"kept_{number}.mha", scan.volume.hu[first : last + 1], scan.volume, first)
    facts = {
        "order": dataclasses.asdict(order),
        "truth": dataclasses.asdict(scan.truth),
        "size": list(reversed(scan.volume.hu.shape)),
        "views": {name: [_encoded(view) for view in found] for name, found in views.items()},
        "mentions": [dataclasses.asdict(mention) for mention in report.mentions],
        "omitted": report.omitted,
        "language": language,
    }
    (folder / TRUTH).write_text(json.dumps(facts, indent=1, default=_plain), encoding="utf-8")


def _views(name: str, scan: SyntheticScan, seed: int) -> list[View]:
    truth, labels, spacing = scan.truth, scan.lesions, scan.volume.spacing_mm
    if name == "deeplesion":
        return deeplesion_view(truth, labels, spacing, seed)
    if name == "some masks":
        return [mask_view(truth, labels, spacing, seed, "lesions.mha", MASKED_SHARE)]
    return [point_view(truth, labels, seed) if name == "points" else report_view(labels)]


def _encoded(view: View) -> dict[str, Any]:
    return {"slices": view.slices, "annotations": [dataclasses.asdict(a) for a in view.annotations]}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def write_image(path: Path, array: npt.NDArray[Any], volume: Volume, first_slice: int = 0) -> None:
    """An array (z, y, x) on a volume's grid, or on the part of it that begins at a slice, as MetaImage."""
    import SimpleITK as sitk

    x, y, z = volume.index_to_world([[0, 0, first_slice]])[0].tolist()
    place = dataclasses.replace(volume.geometry, origin_mm=(x, y, z))
    sitk.WriteImage(image_of(array, place), str(path), useCompression=True)


def organ_values() -> dict[str, tuple[int, ...]]:
    """Organ -> its values in the organ label maps: by its name in resources.cases.organs, and with the side
    before it where it has one.
    """
    values: dict[str, tuple[int, ...]] = {}
    for number, organ in enumerate(ORGANS.values()):
        name, _ = canonical(organ.name)
        for key in (name, f"{organ.side} {name}") if organ.side is not None else (name,):
            values[key] = (*values.get(key, ()), number)
    return values


def read_truth(folder: Path) -> tuple[TrueScan, dict[str, Any]]:
    """What was written of a scan: its truth, and all facts of the file."""
    facts = json.loads((folder / TRUTH).read_text(encoding="utf-8"))
    truth = facts["truth"]
    lesions = tuple(TrueLesion(**{**m, "center_mm": tuple(m["center_mm"])}) for m in truth["lesions"])
    return TrueScan(lesions, tuple(truth["organs"]), truth["attributes"]), facts


def read_mentions(folder: Path) -> tuple[tuple[Mention, ...], tuple[int, ...]]:
    """What a scan's report says, with the lesions each finding is about and its errors; and what it omits.

    Lesions are named by label. Mimics that reports have no name for are in neither.
    """
    _, facts = read_truth(folder)
    mentions = []
    for stored in facts["mentions"]:
        finding = Finding(**{key: _tuples(value) for key, value in stored["finding"].items()})
        mentions.append(
            Mention(finding, tuple(stored["lesions"]), stored["optional"], tuple(stored["errors"]))
        )
    return tuple(mentions), tuple(facts["omitted"])


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def full_case(folder: Path, split: str | None) -> Case:
    """The case with every lesion's mask, complete everywhere, with organ labels and report."""
    truth, facts = read_truth(folder)
    annotations = tuple(
        Annotation(
            "mask",
            m.type,
            mask=str(folder / "lesions.mha"),
            label=m.label,
            long_mm=m.long_mm,
            short_mm=m.short_mm,
            z_extent_mm=m.z_extent_mm,
            status=m.status,
            attributes=_described(m),
        )
        for m in truth.lesions
    )
    real = truth.attributes["anatomy"] == "real"  # it may have lesions of its own
    kind: Literal["all", "none"] = "none" if real else "all"
    complete = Completeness(kind, organ_labels=str(folder / "organs.mha"), organ_values=organ_values())
    return _case(folder, facts, split, annotations, complete)


def _described(lesion: TrueLesion) -> Attributes:
    known: Attributes = {"organ": lesion.organ, "texture": lesion.texture, "contrast_hu": lesion.contrast_hu}
    for name, value in (("side", lesion.side), ("segment", lesion.segment)):
        if value is not None:
            known[name] = value
    return known


def weak_cases(folder: Path, split: str | None, view: str) -> list[Case]:
    """What one kind of annotator left of a scan, one of VIEWS; several cases if the slices kept are apart."""
    _, facts = read_truth(folder)
    cases = []
    for number, found in enumerate(facts["views"][view]):
        annotations = tuple(_annotation(a, folder) for a in found["annotations"])
        case = _case(folder, facts, split, annotations, Completeness())
        if view == "deeplesion":
            x, y, _ = facts["size"]
            first, last = found["slices"]
            source = ImageSource(str(folder / f"kept_{number}.mha"), size=(x, y, last - first + 1))
            case = dataclasses.replace(case, id=f"{case.id}-{number}", image=source)
        cases.append(case)
    return cases


def _annotation(values: dict[str, Any], folder: Path) -> Annotation:
    values = {key: _tuples(value) for key, value in values.items()}
    if values.get("mask"):
        values["mask"] = str(folder / values["mask"])
    return Annotation(**values)


def _case(
    folder: Path,
    facts: dict[str, Any],
    split: str | None,
    annotations: tuple[Annotation, ...],
    complete: Completeness,
) -> Case:
    x, y, z = facts["size"]
    attributes = {**facts["truth"]["attributes"], "language": facts["language"]}
    return Case(
        id=folder.name,
        patient=f"synthetic-{folder.name}",
        source=f"synthetic {attributes['site']}",
        split=split,  # type: ignore[arg-type]
        image=ImageSource(str(folder / "image.mha"), size=(x, y, z)),
        annotations=annotations,
        completeness=complete,
        report=str(folder / "report.txt"),
        attributes=attributes,
    )

"""Scans with label images: nnU-Net and Medical Segmentation Decathlon folders, and ULS23.

A lesion is a connected component (26 neighbours) of one label value; its axes are measured as RECIST does.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.files import whole
from model.geometry import Geometry, image_of
from resources.cases.axes import Axes, PlaneAxes, bounds, measure_axes
from resources.cases.case import Annotation, Case, Completeness, ImageSource
from resources.cases.deeplesion import patient_name
from resources.cases.images import check_same_grid, read_header, read_labels
from resources.cases.patients import split_of
from resources.cases.strict import refuse

SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")
ULS23_TYPES = {
    "Bone": "bone", "Pancreas": "abdomen", "kits21": "kidney", "LIDC-IDRI": "lung", "LiTS": "liver",
    "LNDb": "lung", "Task06_Lung": "lung", "Task07_Pancreas": "abdomen", "Task10_Colon": "abdomen",
    "NIH_LN_ABD": "abdomen", "NIH_LN_MED": "mediastinum",
}  # fmt: skip
"""Lesion type by the end of a ULS23 folder's name; unknown in DeepLesion3D, DeepLesion and CCC18."""


def stem_of(path: Path) -> str:
    """The file's name without the suffix of an image; empty if it has none, or is hidden."""
    if path.name.startswith("."):
        return ""
    suffix = next((s for s in SUFFIXES if path.name.endswith(s)), None)
    return "" if suffix is None else path.name.removesuffix(suffix)


def find_pairs(images: Path, labels: Path) -> list[tuple[str, Path, Path]]:
    """Name, image and mask of every mask in a folder; images are NAME or, as in nnU-Net, NAME_0000.

    Raises CaseError where a mask has no image, or there is none at all.
    """
    by_stem = {stem_of(p): p for p in sorted(images.iterdir()) if stem_of(p)} if images.is_dir() else {}
    masks = [p for p in sorted(labels.iterdir()) if stem_of(p)] if labels.is_dir() else []
    if not masks:
        refuse(f"{labels}", f"label images ({', '.join(SUFFIXES)})", "none")
    pairs = []
    for mask in masks:
        name = stem_of(mask)
        image = by_stem.get(f"{name}_0000", by_stem.get(name))
        if image is None:
            refuse(f"{mask}", f"its image {name} or {name}_0000 in {images}", "none")
        if f"{name}_0001" in by_stem:
            refuse(f"{image}", "one channel", "several (CT has one)")
        pairs.append((name, image, mask))
    return pairs


@dataclasses.dataclass(frozen=True)
class Job:
    """One pair to convert. lesions: label value -> type; organs: label value -> name; others are background.

    complete: "all", "organs" (the named organs) or "none". components: folder for label images in which
    every lesion has a value of its own, written where the given one has not.
    """

    name: str
    patient: str
    source: str
    split: str | None
    image: Path
    mask: Path
    components: Path
    lesions: Mapping[int, str | None]
    organs: Mapping[int, str] = dataclasses.field(default_factory=dict)
    complete: str = "all"


def convert_pair(job: Job) -> Case:
    """The case of an image and its mask. Raises CaseError or InputError."""
    import SimpleITK as sitk

    place = read_header(job.image)
    labels = read_labels(job.mask)
    check_same_grid(job.mask, labels, place)
    known = {0, *job.lesions, *job.organs}
    label_values = set(np.unique(labels.values).tolist())
    if not label_values <= known:
        refuse(f"{job.mask}: labels", f"only {sorted(known)}", sorted(label_values - known))
    numbered, values = number_components(labels.values, sorted(job.lesions))
    plain = len(set(values)) == len(values)
    path = job.mask if plain else job.components / f"{job.name}.nii.gz"
    if not plain:
        with whole(path, ".nii.gz") as part:
            sitk.WriteImage(image_of(numbered, labels.geometry), str(part), True)
    annotations = []
    for number, value in enumerate(values, 1):
        component = numbered == number
        axes = measure_axes(component[bounds(component)], place.spacing_mm)
        annotations.append(_mask_annotation(path, value if plain else number, axes, job.lesions[value]))
    return _case(job, place, tuple(annotations), _completeness(job))


def _case(job: Job, place: Geometry, annotations: tuple[Annotation, ...], completeness: Completeness) -> Case:
    return Case(
        id=job.name,
        patient=job.patient,
        source=job.source,
        split=job.split,  # type: ignore[arg-type]
        image=ImageSource(str(job.image), size=place.size),
        annotations=annotations,
        completeness=completeness,
    )


def _completeness(job: Job) -> Completeness:
    values: dict[str, tuple[int, ...]] = {}
    for value, organ in job.organs.items():
        values[organ] = (*values.get(organ, ()), value)
    if job.complete == "organs":
        return Completeness("organs", None, tuple(sorted(values)), None, str(job.mask), values)
    kind = "all" if job.complete == "all" else "none"
    return Completeness(kind, organ_labels=str(job.mask) if values else None, organ_values=values)  # type: ignore[arg-type]


def _mask_annotation(path: Path, label: int, axes: Axes, lesion_type: str | None) -> Annotation:
    return Annotation(
        "mask",
        lesion_type,
        mask=str(path),
        label=label,
        long_mm=axes.long_mm,
        short_mm=axes.short_mm,
        z_extent_mm=axes.z_extent_mm,
    )


def number_components(
    values: npt.NDArray[np.integer], lesions: list[int]
) -> tuple[npt.NDArray[np.uint16], list[int]]:
    """(z, y, x) labels -> each connected component of these values numbered from 1, and the value of each."""
    from scipy import ndimage

    numbered = np.zeros(values.shape, np.uint16)
    owners: list[int] = []
    for value in lesions:
        components, count = ndimage.label(values == value, np.ones((3, 3, 3)))
        if len(owners) + count > np.iinfo(np.uint16).max:
            refuse("mask", "at most 65,535 lesions", f"{len(owners) + count}")
        numbered[components > 0] = components[components > 0] + len(owners)
        owners += [value] * count
    return numbered, owners


def uls23_jobs(root: Path, validation: float, test: float, splits: Mapping[str, str]) -> list[Job]:
    """A job for every volume of interest below ULS23's root, by its folders `images` and `labels*`.

    splits: given splits by patient (those of DeepLesion), for the rest shares. Raises CaseError.
    """
    jobs = []
    for labels in sorted(p for p in root.rglob("labels*") if p.is_dir()):
        dataset = labels.parent.name
        lesion_type = next((t for end, t in ULS23_TYPES.items() if dataset.endswith(end)), None)
        for name, image, mask in find_pairs(labels.parent / "images", labels):
            patient = _uls23_patient(dataset, name)
            split = splits.get(patient) or split_of(patient, validation, test)
            lesions: dict[int, str | None] = {1: lesion_type}
            full_name = f"{dataset}/{name}"
            jobs.append(
                Job(full_name, patient, "ULS23", split, image, mask, labels, lesions, complete="region")
            )
    if not jobs:
        refuse(f"{root}", "ULS23's folders with images and labels", "none")
    return jobs


def _uls23_patient(dataset: str, name: str) -> str:
    deeplesion = re.match(r"(\d{6})_\d{2}_\d{2}_\d{3}", name)
    if deeplesion and "DeepLesion" in dataset:
        return patient_name(int(deeplesion[1]))
    return f"{dataset}-{re.sub(r'_(lesion|sample)_?[0-9]+$', '', name)}"


def _recist_annotation(axes: PlaneAxes, corner: tuple[int, int, int], lesion_type: str | None) -> Annotation:
    """corner: index (x, y, z) of the first voxel of the part that was measured."""
    x, y, z = corner
    level = float(axes.z + z)
    long, short = (
        tuple((float(end[0] + x), float(end[1] + y), level) for end in ends)
        for ends in (axes.long, axes.short)
    )
    return Annotation(
        "recist",
        lesion_type,
        long=(long[0], long[1]),
        short=(short[0], short[1]),
        long_mm=axes.long_mm,
        short_mm=axes.short_mm,
    )


def convert_uls23(job: Job) -> Case:
    """A volume of interest: only the central lesion is annotated. Raises CaseError or InputError.

    The partly annotated ones (labels_grabcut) have a mask on one slice; it becomes RECIST axes, the rest of
    the lesion being unknown. Of full masks, the lesion's bounding box is complete.
    """
    place = read_header(job.image)
    labels = read_labels(job.mask)
    check_same_grid(job.mask, labels, place)
    values = set(np.unique(labels.values).tolist())
    if not values <= {0, 1} or 1 not in values:
        refuse(f"{job.mask}: labels", "1 for the lesion", sorted(values))
    lesion = labels.values == 1
    box = bounds(lesion)
    axes = measure_axes(lesion[box], place.spacing_mm)
    lesion_type = job.lesions[1]
    if job.mask.parent.name != "labels":
        annotation = _recist_annotation(axes.key, (box[2].start, box[1].start, box[0].start), lesion_type)
        completeness = Completeness()
    else:
        annotation = _mask_annotation(job.mask, 1, axes, lesion_type)
        lower = (box[2].start - 0.5, box[1].start - 0.5, box[0].start - 0.5)
        upper = (box[2].stop - 0.5, box[1].stop - 0.5, box[0].stop - 0.5)
        completeness = Completeness("region", region=(lower, upper))
    return _case(job, place, (annotation,), completeness)

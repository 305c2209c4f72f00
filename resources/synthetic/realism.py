"""Synthetic scans beside real ones: figures and pictures.

python -m resources.synthetic.realism --real ../shared/data --out build/realism

Writes sheet.png and figures.txt. Tuned on the abdomen (real: example_ct, unenhanced, with organ labels of 30
slices), judged on the chest crop; the noise beside that of DeepLesion's key slices as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.volume import InputError, read_volume
from resources.cases.deeplesion import Row, convert, find_slices
from resources.cases.deeplesion import read_table as read_rows
from resources.cases.images import read_case_volume
from resources.cases.strict import CaseError
from resources.cli import end_with
from resources.synthetic.background import in_lps
from resources.synthetic.generate import Order, SyntheticScan, make_scan
from resources.synthetic.labelmap import TABLES, read_table
from resources.synthetic.likeness import (
    Sample,
    enclosed_share,
    gradient_histogram,
    hu_histogram,
    jensen_shannon,
    noise_sd,
    patch_features,
    resampled,
    told_apart,
)
from resources.synthetic.organs import KEYS, LABEL, ORGANS

RANGES_ML = {
    "liver": (900, 2300), "spleen": (60, 420), "kidney left": (90, 280), "kidney right": (90, 280),
    "pancreas": (30, 150), "gall bladder": (8, 90), "bladder": (40, 600), "heart": (350, 1100),
    "adrenal gland left": (1.5, 9), "adrenal gland right": (1.5, 9), "aorta": (80, 320), "lung": (1800, 7500),
}  # fmt: skip
"""Adult volumes in ml, low to high. Liver, spleen, kidney, pancreas, adrenal: Geraghty 2004, Meier 2007;
others: ICRP 89 and wide margins."""
APART = (
    "liver", "spleen", "kidney left", "kidney right", "pancreas", "gall bladder", "bladder", "stomach",
    "heart",
)  # fmt: skip
"""Organs that lie in no other."""
NAMES = {
    "gall bladder": ("gall bladder",),
    "liver": ("liver",),
    "spleen": ("spleen",),
    "kidney": ("kidney left", "kidney right"),
    "pancreas": ("pancreas",),
    "aorta": ("aorta",),
    "vena cava": ("vena cava",),
    "portal vein": ("portal vein",),
    "lumbar and T12 vertebrae": ("L1", "L2", "L3", "T12"),
    "back muscle": ("muscle",),
    "psoas": ("psoas left", "psoas right"),
    "small bowel": ("small bowel",),
    "duodenum": ("duodenum",),
    "adrenal": ("adrenal gland left", "adrenal gland right"),
    "spinal canal": ("spinal canal",),
    "costal cartilage": ("costal cartilage",),
    "ribs": tuple(k for k in KEYS if k.startswith("rib ")),
}


def real_sample(path: Path, name: str) -> Sample:
    volume = in_lps(read_volume(path))
    return Sample(name, np.asarray(volume.hu, np.float32), volume.spacing_mm)


def key_slices(table: Path, images: Path) -> Iterator[tuple[npt.NDArray[np.int16], list[Row]]]:
    """HU (y, x) of the key slices of a DeepLesion table that are there, each with its rows.
    Raises CaseError, InputError.
    """
    rows = read_rows(table)
    cases, _ = convert(rows, find_slices(images, {row.series for row in rows}))
    for case in cases:
        assert case.image.slices is not None
        first, last = case.image.slices
        volume = read_case_volume(case)
        here = [r for r in rows if r.series == case.image.series and first <= r.key_slice <= last]
        for key in sorted({r.key_slice for r in here}):
            yield volume.hu[key - first], [r for r in here if r.key_slice == key]


def key_samples(deeplesion: Path, edge_mm: float) -> list[Sample]:
    """DeepLesion's key slices, each averaged to pixels of about `edge_mm`. Raises CaseError, InputError."""
    from skimage.measure import block_reduce

    samples = []
    for hu, rows in key_slices(deeplesion / "DL_info_excerpt.csv", deeplesion):
        x, y, z = rows[0].spacing_mm
        block = max(1, round(edge_mm / x))
        plane = block_reduce(hu.astype(np.float32), block, np.mean, cval=-1000)
        samples.append(Sample(f"key slice {rows[0].series}", plane[None], (block * x, block * y, z)))
    return samples


def synthetic_samples(scans: Sequence[SyntheticScan], name: str) -> list[Sample]:
    return [
        Sample(f"{name} {i}", s.volume.hu.astype(np.float32), s.volume.spacing_mm)
        for i, s in enumerate(scans)
    ]


def make_scans(
    count: int, seed: int, coverage: str, phase: str, edge_mm: float, **more: Any
) -> list[SyntheticScan]:
    """Scans of site A's procedural bodies without lesions."""
    return [
        make_scan(Order(seed + i, "A", (edge_mm,) * 3, coverage, phase, "procedural", 0, **more))
        for i in range(count)
    ]


def mean_table(real: Path, scans: Sequence[SyntheticScan]) -> list[str]:
    """Mean HU of tissues, real (labelled, unenhanced) and synthetic (median over scans)."""
    import SimpleITK as sitk

    hu = sitk.GetArrayFromImage(sitk.ReadImage(str(real / "ct/abdomen/example_ct_sm.nii.gz")))
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(real / "ct/abdomen/example_seg.nii.gz")))
    table = read_table(TABLES / "totalsegmentator.csv")
    lines, close, counted = ["mean HU            real  synthetic  difference"], 0, 0
    for name, keys in NAMES.items():
        wanted = [label for label, (organ, _) in table.items() if organ in keys]
        mask = np.isin(labels, wanted)
        if mask.sum() < 60:
            continue
        values = []
        for scan in scans:
            here = np.isin(scan.organs, [LABEL[k] for k in keys])
            if name == "back muscle":  # autochthonous: behind the spine only
                rows = np.nonzero(np.isin(scan.organs, [LABEL[k] for k in ("L1", "L2", "T12")]).any((0, 2)))[
                    0
                ]
                here[:, : int(np.median(rows)) + 8] = False
            if here.sum() > 60:
                values.append(scan.volume.hu[here].mean())
        if values:
            ours, theirs = float(np.median(values)), float(hu[mask].mean())
            counted, close = counted + 1, close + (abs(ours - theirs) <= 15)
            lines.append(f"{name:24s} {theirs:6.0f} {ours:8.0f} {ours - theirs:9.0f}")
    return [*lines, f"within 15 HU: {close} of {counted} tissues"]


def noise_table(reals: Sequence[Sample], keys: Sequence[Sample], fakes: Sequence[Sample]) -> list[str]:
    """Noise of real scans, of key slices and of synthetic scans; how many of these are within a factor 1.5 of
    the real range.
    """
    lines = ["noise sd (HU), median of 5x5 patches   liver-like (20..130)   fat (-130..-70)"]
    noise = []
    for sample in [*reals, *keys, *fakes]:
        body = sample.body
        noise.append((noise_sd(sample, 20, 130, body), noise_sd(sample, -130, -70, body)))
        lines.append(f"{sample.name:32s} {noise[-1][0]:12.1f} {noise[-1][1]:18.1f}")
    fake = np.array(noise[-len(fakes) :])
    for name, count in (("real scans", len(reals)), ("these and key slices", len(reals) + len(keys))):
        real = np.array(noise[:count])
        inside = (fake >= np.nanmin(real, 0) / 1.5) & (fake <= np.nanmax(real, 0) * 1.5)
        share = [f"{n} of {len(fakes)}" for n in inside.sum(0)]
        lines.append(f"{f'within 1.5 of {name}':34s} {share[0]:>10s} {share[1]:>18s}")
    return lines


def distance_table(title: str, real: Sample, fakes: Sequence[Sample], others: Sequence[Sample]) -> list[str]:
    """Jensen-Shannon distances of a real scan to synthetic ones and to other real ones."""
    lines = [f"Jensen-Shannon distance, {title}       HU   gradient"]
    measures: tuple[Callable[[Sample], npt.NDArray[np.int64]], ...] = (hu_histogram, gradient_histogram)
    mine = [measure(real) for measure in measures]
    for group, samples in (("synthetic", fakes), ("real", others)):
        values = np.array(
            [[jensen_shannon(m, f(s)) for m, f in zip(mine, measures, strict=True)] for s in samples]
        )
        if len(values):
            low, high = values.min(0), values.max(0)
            lines.append(
                f"{real.name} - {group} (n {len(values)}): median"
                f" {np.median(values[:, 0]):.3f} ({low[0]:.3f} to {high[0]:.3f})"
                f"   {np.median(values[:, 1]):.3f} ({low[1]:.3f} to {high[1]:.3f})"
            )
    return lines


def anatomy_table(scans: Sequence[SyntheticScan]) -> list[str]:
    """Volumes of organs that are whole, against adult ranges; organs that lie inside another one."""
    lines, inside = ["volume (ml)             smallest   median  largest   adult range"], []
    volumes: dict[str, list[float]] = {}
    for scan in scans:
        ml = float(np.prod(scan.volume.spacing_mm)) / 1000
        for name in RANGES_ML:
            keys = [LABEL[k] for k in KEYS if k == name or (name == "lung" and ORGANS[k].name == "lung")]
            mask = np.isin(scan.organs, keys)
            if ORGANS.get(name, ORGANS["lung right upper"]).name in scan.truth.organs and mask.any():
                volumes.setdefault(name, []).append(float(mask.sum()) * ml)
        for name in APART:
            if (scan.organs == LABEL[name]).sum() > 100:
                other, share = enclosed_share(scan.organs, LABEL[name])
                if share > 0.85 and "fat" not in KEYS[other] and KEYS[other] not in ("mediastinum",):
                    inside.append(f"{name} in {KEYS[other]} ({share:.0%})")
    wrong = 0
    for name, found in volumes.items():
        low, high = RANGES_ML[name]
        wrong += sum(not low <= v <= high for v in found)
        lines.append(
            f"{name:22s} {min(found):9.0f} {np.median(found):9.0f} {max(found):8.0f}   {low:g} to {high:g}"
        )
    total = sum(map(len, volumes.values()))
    return [
        *lines,
        f"outside their range: {wrong} of {total}",
        f"organs inside another: {', '.join(inside) or 'none'}",
    ]


def patch_table(
    real: Sample, fakes: Sequence[Sample], others: Sequence[Sample], count: int = 300
) -> list[str]:
    mine = patch_features(real, count, 24, 1)
    theirs = np.concatenate(
        [patch_features(s, -(-count // len(fakes)), 24, 2 + i) for i, s in enumerate(fakes)]
    )
    np.random.default_rng(0).shuffle(theirs)
    lines = [
        f"patches told apart (area under the curve), {real.name} - synthetic: {told_apart(mine, theirs):.3f}"
    ]
    for other in others:
        area = told_apart(mine, patch_features(other, count, 24, 3))
        lines.append(f"  the same, {real.name} - {other.name}: {area:.3f}")
    return lines


def draw_sheet(path: Path, rows: Sequence[tuple[str, Sample]]) -> None:
    """Axial, coronal and sagittal planes of each sample at a soft-tissue and a lung window."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    windows = ((40.0, 400.0), (-500.0, 1500.0))
    figure, axes = plt.subplots(len(rows), 10, figsize=(20, 2.05 * len(rows)), facecolor="black")
    for line, (name, sample) in zip(np.atleast_2d(axes), rows, strict=True):
        depth, height, width = sample.hu.shape
        x, y, z = sample.spacing_mm
        planes = [(sample.hu[int(depth * f)], y / x) for f in (0.25, 0.55, 0.8)]
        planes += [(sample.hu[::-1, int(height * 0.5)], z / x), (sample.hu[::-1, :, int(width * 0.5)], z / y)]
        for k, (level, span) in enumerate(windows):
            for i, (plane, aspect) in enumerate(planes):
                cell = line[5 * k + i]
                cell.imshow(plane, cmap="gray", vmin=level - span / 2, vmax=level + span / 2, aspect=aspect)
                cell.axis("off")
        line[0].set_title(name, color="white", fontsize=7, loc="left", pad=2)
    figure.subplots_adjust(0, 0, 1, 0.98, 0.01, 0.06)
    figure.savefig(path, dpi=90, facecolor="black")
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.synthetic.realism", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--real", type=Path, required=True, help="folder with ct/abdomen, ct/chest, ct/sarcoma and deeplesion"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6, help="synthetic scans of each kind")
    parser.add_argument("--seed", type=int, default=100)
    chosen = parser.parse_args(arguments)
    ct = chosen.real / "ct"
    try:
        abdomen = real_sample(ct / "abdomen/example_ct.nii.gz", "real abdomen")
        chest = real_sample(ct / "chest/chest_crop.nii.gz", "real chest")
        legs = [
            real_sample(p, f"real {p.name[:7]}") for p in sorted(ct.glob("sarcoma/*_CT_image.nii.gz"))[:6]
        ]
        keys = key_samples(chosen.real / "deeplesion", 3.0)
    except (CaseError, InputError) as error:
        return end_with(error)
    chosen.out.mkdir(parents=True, exist_ok=True)
    bellies = make_scans(chosen.count, chosen.seed, "abdomen", "none", 3.0)
    thoraces = make_scans(chosen.count, chosen.seed + 50, "chest", "arterial", 1.5, shape=(150, 170, 200))
    fakes = synthetic_samples(bellies, "synthetic abdomen")
    crops = [_chest_crop(s, chest) for s in synthetic_samples(thoraces, "synthetic chest")]
    others = [resampled(s, 3.0) for s in (chest, *legs)]
    lines = [*mean_table(chosen.real, bellies), ""]
    lines += [*noise_table([abdomen, chest, *legs], keys, [*fakes, *crops]), ""]
    lines += [*distance_table("abdomen, 3 mm (tuned)", abdomen, fakes, others), ""]
    lines += [
        *distance_table("chest crop, 1.5 mm (judged)", chest, crops, [resampled(s, 1.5) for s in legs]),
        "",
    ]
    lines += [*patch_table(abdomen, fakes, others[:2]), *patch_table(chest, crops, []), ""]
    lines += anatomy_table(bellies)
    text = "\n".join(lines) + "\n"
    print(text)
    (chosen.out / "figures.txt").write_text(text, encoding="utf-8")
    draw_sheet(chosen.out / "sheet.png", [(s.name, s) for s in (abdomen, *fakes[:4], chest, *crops[:3])])
    return 0


def _sternum_row(sample: Sample, column: int) -> int:
    """Median over slices of the first row (from the front) that holds bone near a column."""
    bone = (sample.hu[:, :, column - 8 : column + 9] > 200).max(2)
    return int(np.median(bone[bone.max(1)].argmax(1)))


def _chest_crop(sample: Sample, like: Sample) -> Sample:
    """The part of a synthetic chest that the real crop shows: middle and left, from the liver's dome up."""
    depth, height, width = like.hu.shape
    top = max(0, _sternum_row(sample, sample.hu.shape[2] // 2) - _sternum_row(like, int(0.42 * width)))
    left = sample.hu.shape[2] // 2 - int(0.42 * width)
    bottom = int(0.10 * sample.hu.shape[0])
    return Sample(
        sample.name,
        sample.hu[bottom : bottom + depth, top : top + height, left : left + width],
        sample.spacing_mm,
    )


if __name__ == "__main__":
    sys.exit(main())

"""How alike two CT volumes are: histograms, noise, means of organs, patches told apart."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt

from resources.synthetic.graft import largest_part

Array = npt.NDArray[np.float32]
HU_BINS = np.arange(-1000, 1001, 20)
GRADIENT_BINS = np.concatenate([np.arange(0, 60, 3), np.arange(60, 300, 12), [300, 500, 1000, 4000]])


@dataclasses.dataclass(frozen=True)
class Sample:
    """A scan to compare. hu: (z, y, x); spacing_mm: (x, y, z)."""

    name: str
    hu: Array
    spacing_mm: tuple[float, float, float]

    @property
    def body(self) -> npt.NDArray[np.bool_]:
        """Everything within the skin, lungs and gas too."""
        from scipy import ndimage

        dense = [ndimage.binary_opening(plane, iterations=2) for plane in self.hu > -300]
        return np.stack([ndimage.binary_fill_holes(largest_part(plane)) for plane in dense])


def resampled(sample: Sample, edge_mm: float) -> Sample:
    """On isotropic voxels, by linear interpolation after averaging where voxels become larger."""
    from scipy import ndimage

    factor = [mm / edge_mm for mm in reversed(sample.spacing_mm)]
    blur = [max(0.0, 0.42 * (1 / f - 1)) for f in factor]
    hu = ndimage.zoom(ndimage.gaussian_filter(sample.hu, blur), factor, order=1)
    return Sample(sample.name, hu.astype(np.float32), (edge_mm,) * 3)


def jensen_shannon(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Jensen-Shannon distance (root of the divergence, base 2) of two histograms: 0 alike, 1 disjoint."""
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(first, second, base=2))


def hu_histogram(sample: Sample) -> npt.NDArray[np.int64]:
    return np.histogram(sample.hu[sample.body].clip(-999, 999), HU_BINS)[0]


def gradient_histogram(sample: Sample) -> npt.NDArray[np.int64]:
    """Of the gradient's magnitude in HU per voxel, by central differences."""
    slopes = np.gradient(sample.hu.clip(-1000, 1000))
    size = np.sqrt(sum(g * g for g in slopes))
    return np.histogram(size[sample.body].clip(0, 3999), GRADIENT_BINS)[0]


def noise_sd(sample: Sample, low: float, high: float, within: npt.NDArray[np.bool_] | None = None) -> float:
    """Median sd of 5x5 patches of a slice that lie in a tissue told by its smoothed HU; nan if there is none.

    within: where to look; the whole scan if None.
    """
    from scipy import ndimage

    hu = sample.hu
    smooth = ndimage.uniform_filter(hu, (1, 7, 7))
    inside = (smooth > low) & (smooth < high)
    inside = inside if within is None else inside & within
    inside = np.stack([ndimage.binary_erosion(plane, iterations=4) for plane in inside])
    mean = ndimage.uniform_filter(hu, (1, 5, 5))
    square = ndimage.uniform_filter(hu * hu, (1, 5, 5))
    sd = np.sqrt(np.maximum(square - mean * mean, 0) * 25 / 24)
    return float(np.median(sd[inside])) if inside.any() else float("nan")


def patch_features(sample: Sample, count: int, size: int, seed: int) -> npt.NDArray[np.float64]:
    """(count, features) of random patches of slices that are body by at least 70 %."""
    random = np.random.default_rng(seed)
    body = sample.body
    rows = []
    depth, height, width = sample.hu.shape
    for _ in range(60 * count):
        z, y, x = (int(random.integers(0, n)) for n in (depth, height - size, width - size))
        part = (z, slice(y, y + size), slice(x, x + size))
        if body[part].mean() > 0.7:
            rows.append(_features(sample.hu[part].clip(-1000, 1000)))
            if len(rows) == count:
                break
    return np.array(rows)


def _features(patch: Array) -> npt.NDArray[np.float64]:
    gy, gx = np.gradient(patch)
    edges = np.hypot(gx, gy)
    soft = patch.clip(-160, 240)
    flat = (
        patch
        - (np.roll(patch, 1, 0) + np.roll(patch, -1, 0) + np.roll(patch, 1, 1) + np.roll(patch, -1, 1)) / 4
    )
    spectrum = np.abs(np.fft.rfft2(soft - soft.mean())) ** 2
    radius = np.hypot(np.fft.fftfreq(len(patch))[:, None], np.fft.rfftfreq(len(patch))[None])
    bands = [np.log1p(spectrum[(radius >= a) & (radius < a + 0.1)].mean()) for a in (0.0, 0.1, 0.2, 0.3, 0.4)]
    edges_hu = (-1000, -300, -130, -60, 0, 30, 60, 120, 300, 1001)
    shares = [np.mean((patch >= a) & (patch < b)) for a, b in itertools.pairwise(edges_hu)]
    return np.array([
        *np.quantile(soft, (0.1, 0.25, 0.5, 0.75, 0.9)), *np.quantile(edges, (0.25, 0.5, 0.75, 0.9)),
        *np.quantile(np.abs(flat), (0.25, 0.5, 0.75, 0.9)), *bands, *shares,
    ])  # fmt: skip


def told_apart(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Area under the ROC curve of a random forest that tells patches apart, by five-fold cross-validation."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict

    count = min(len(first), len(second))
    x = np.concatenate([first[:count], second[:count]])
    y = np.repeat([0, 1], count)
    forest = RandomForestClassifier(200, min_samples_leaf=3, random_state=0)
    return float(roc_auc_score(y, cross_val_predict(forest, x, y, cv=5, method="predict_proba")[:, 1]))


def enclosed_share(labels: npt.NDArray[np.uint8], value: int) -> tuple[int, float]:
    """The other value that most of a label's neighbours bear, and its share of them."""
    from scipy import ndimage

    mask = labels == value
    slices = ndimage.find_objects(mask.astype(np.uint8))[0]
    part = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in slices)
    ring = ndimage.binary_dilation(mask[part]) & ~mask[part]
    counts = np.bincount(labels[part][ring], minlength=1)
    return int(counts.argmax()), float(counts.max() / max(1, counts.sum()))

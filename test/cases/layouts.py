"""Small files in the layouts in which data sets and hospitals hand out their scans."""

import csv
import io
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from resources.cases.deeplesion import COLUMNS


def row(series: str = "000001_01_01", key: int = 5, **changes: str) -> dict[str, str]:
    """A row in DeepLesion's layout: axes of 20 and 10 pixels that cross in (100, 200)."""
    patient, study, number = (str(int(part)) for part in series.split("_"))
    values = (
        f"{series}_{key:03d}.png", patient, study, number, str(key), "90, 200, 110, 200, 100, 195, 100, 205",
        "85, 190, 115, 210", "20, 10", "0.2, 0.4, 0.5", "-1", "0", "3, 7", "0.5, 0.5, 5", "512, 512",
        "-175, 275", "F", "61", "1",
    )  # fmt: skip
    return {**dict(zip(COLUMNS, values, strict=True)), **changes}


def table(path: Path, rows: list[dict[str, str]], columns: tuple[str, ...] = COLUMNS) -> Path:
    """A CSV; other fields of the rows are left out."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def png(hu: np.ndarray) -> bytes:
    """One of DeepLesion's slices: HU + 32768 in 16 bits."""
    data = io.BytesIO()
    Image.fromarray((hu.astype(np.int32) + 32768).astype(np.uint16)).save(data, "PNG")
    return data.getvalue()


def write_slices(folder: Path, series: str, first: int, hu: np.ndarray) -> Path:
    """FOLDER/Images_png/SERIES/NNN.png of a volume (z, y, x), numbered from `first`; the folder."""
    (folder / "Images_png" / series).mkdir(parents=True)
    for number, plane in enumerate(hu, first):
        (folder / "Images_png" / series / f"{number:03d}.png").write_bytes(png(plane))
    return folder


def slices(folder: Path, series: str, numbers: range) -> Path:
    """512 x 512 slices whose HU is ten times their number."""
    hu = np.stack([np.full((512, 512), 10 * number) for number in numbers])
    return write_slices(folder, series, numbers.start, hu)


def write_image(path: Path, array: np.ndarray, spacing: tuple[float, ...] = (1.0, 1.0, 3.0)) -> Path:
    """An image (z, y, x), flipped in x and y as NIfTI files of CT often are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((5.0, 6.0, 7.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(path))
    return path


def scan(folder: Path, name: str = "a.nii.gz") -> None:
    """40 x 40 x 10 voxels of 0.5 x 0.5 x 3 mm, flipped in x and y."""
    image = sitk.GetImageFromArray(np.zeros((10, 40, 40), np.int16))
    image.SetSpacing((0.5, 0.5, 3.0))
    image.SetOrigin((100.0, 50.0, -20.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(folder / name))

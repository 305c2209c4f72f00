"""CT-like scans in files, small random weights and the command line, for tests."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
import torch
from referencing import Registry, Resource

from model.config import DetectorConfig
from model.detector import save_weights
from model.network import CenterNet3D
from model.reading.scan import read_scan
from model.volume import InputError, Volume

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
SMALL = DetectorConfig(widths=(4, 6, 8), blocks=(1, 1, 1))
SPACING, ORIGIN = (0.8, 0.9, 2.5), (-10.0, 20.0, 30.5)

RESULTS = {
    "lesion-points.json": "multiple_points.json",
    "lesion-details.json": "details.json",
    "metastasis-likelihood.json": "likelihood.json",
}
"""The files of a scan, and their schemas."""

COLUMNS = ["case_id", "status", "lesions", "lesions_above_operating_point", "likelihood", "seconds", "error"]
"""Of summary.csv."""

Array = npt.NDArray[Any]


def phantom(shape: tuple[int, int, int] = (16, 40, 48), seed: int = 0) -> npt.NDArray[np.int16]:
    """HU (z, y, x) of a trunk in air: fat around soft tissue around two lungs; noise of 12 HU."""
    z, y, x = np.ogrid[tuple(slice(-1, 1, count * 1j) for count in shape)]
    radius = np.sqrt(y**2 + x**2) + 0 * z
    hu = np.select([radius < 0.65, radius < 0.9], [50.0, -100.0], -1000.0)
    hu[np.sqrt(y**2 * 2 + (np.abs(x) - 0.3) ** 2 * 12) + 0 * z < 0.4] = -850
    hu += np.random.default_rng(seed).normal(0, 12, shape)
    return np.clip(hu, -1024, 3071).round().astype(np.int16)


def image_of(
    hu: Array, spacing: tuple[float, ...] = SPACING, origin: tuple[float, ...] = ORIGIN
) -> sitk.Image:
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def write_scan(path: Path, hu: Array | None = None, compress: bool = True) -> Path:
    """A phantom, or other voxels (z, y, x), in the format of the suffix; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_of(phantom() if hu is None else hu), str(path), compress)
    return path


@dataclasses.dataclass
class Series:
    """A DICOM series of axial slices; places are the LPS mm of their first voxels."""

    hu: Array = dataclasses.field(default_factory=lambda: phantom((6, 40, 48)))
    places: list[tuple[float, float, float]] | None = None
    uid: str = "1.2.3"
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    stem: str = "slice"
    spacing: tuple[float, float, float] = SPACING

    def write(self, folder: Path) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        paths = []
        places = self.places or [(-10.0, 20.0, 2.5 * number) for number in range(len(self.hu))]
        for number, (voxels, place) in enumerate(zip(self.hu, places, strict=True)):
            image = sitk.GetImageFromArray(voxels[None])
            image.SetSpacing(self.spacing)
            tags = {
                "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
                "0008|0018": f"{self.uid}.{number + 1}",
                "0008|0060": "CT",
                "0020|000d": "1.2.2",
                "0020|000e": self.uid,
                "0020|0013": str(number + 1),
                "0020|0032": "\\".join(map(str, place)),
                "0020|0037": "1\\0\\0\\0\\1\\0",
                "0028|1052": "-1024",
                "0028|1053": "1",
            }
            for tag, value in (tags | self.tags).items():
                image.SetMetaData(tag, value)
            paths.append(folder / f"{self.stem}{number:03d}.dcm")
            writer.SetFileName(str(paths[-1]))
            writer.Execute(image)
        return paths


def read_here(path: Path, series: str | None = None) -> Volume:
    """As `model.volume.read_volume`, in this process: a tenth of the time."""
    image = read_scan(path, series, np.zeros)
    place = image.geometry
    assert image.voxels is not None
    return Volume(image.voxels, place.spacing_mm, place.origin_mm, place.direction, image.warnings)


def why_unreadable(path: Path, series: str | None = None) -> str:
    """The message, after checking that it is one line and names the file or its folder."""
    with pytest.raises(InputError) as caught:
        read_here(path, series)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    assert "expected" in text
    assert "found" in text
    return text.removeprefix(str(path))


def lively(config: DetectorConfig = SMALL, seed: int = 0) -> CenterNet3D:
    """Random weights and random batch statistics whose outputs depend on everything they can reach."""
    torch.manual_seed(seed)
    network = CenterNet3D(config)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.endswith("running_mean") or name == "out.weight":
            value.normal_(0, 0.3)
    return network.eval()


def loud(gain: float = 40.0) -> CenterNet3D:
    """Random weights that see small lesions in noise; with a gain of 160 in a phantom too."""
    network = lively(seed=1)
    network.out.weight.data[:8] *= gain
    network.out.weight.data[11:] *= 0.1
    network.out.bias.data[11:] -= 1.5
    return network


def write_weights(folder: Path, seed: int = 0) -> Path:
    """A folder with the weights of a small network, which finds lesions everywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(folder / "small.safetensors", lively(seed=seed), SMALL)
    return folder


def write_slow_weights(folder: Path) -> Path:
    """An ensemble that takes seconds for the scan of `write_large`."""
    for number in range(40):
        save_weights(folder / f"{number}.safetensors", lively(seed=number), SMALL)
    return folder


def write_large(path: Path) -> Path:
    """A few voxels that cover much room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_of(phantom((50, 90, 100)), (5.0, 5.0, 5.0)), str(path))
    return path


def command_of(*options: object) -> list[str]:
    return [sys.executable, str(ROOT / "process.py"), "--device", "cpu", *map(str, options)]


def environment() -> dict[str, str]:
    """This process's, without the detector's variables; one thread."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LESION_")}
    return kept | {"OMP_NUM_THREADS": "1"}


def run_process(*options: object, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Runs process.py to its end."""
    command = [*prefix, *command_of(*options)]
    return subprocess.run(command, env=environment(), capture_output=True, encoding="utf-8", check=False)


def last_line(text: str) -> str:
    """The last non-empty line: of stderr, what the platform shows its user."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def read_results(folder: Path) -> tuple[Any, Any, Any]:
    """Points, details and likelihood of a scan, after checking them against the platform's schemas."""
    found = []
    for file, schema in RESULTS.items():
        value = json.loads((folder / file).read_text(encoding="utf-8"), parse_constant=refuse)
        validator_of(schema).validate(value)
        found.append(value)
    points, details, likelihood = found
    assert len(points["points"]) == len(details["points"])
    return points, details, likelihood


def refuse(constant: str) -> None:
    raise ValueError(f"expected JSON, found {constant}")


def validator_of(schema: str) -> jsonschema.Draft7Validator:
    """The validator of a file of test/schemas."""
    schemas = {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for path in (ROOT / "test" / "schemas").iterdir()
    }
    resources = ((name, Resource.from_contents(content)) for name, content in schemas.items())
    return jsonschema.Draft7Validator(schemas[schema], registry=Registry().with_resources(resources))


def files_below(folder: Path) -> dict[str, bytes]:
    """Of any name, hidden ones among them."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def summary_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = {row["case_id"]: row for row in reader}
        assert reader.fieldnames == COLUMNS
    return rows

"""The detector's settings. They live inside the weights file, so a file explains itself."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

LESION_TYPES = (
    "bone",
    "abdomen",
    "mediastinum",
    "liver",
    "lung",
    "kidney",
    "soft tissue",
    "pelvis",
)
"""DeepLesion's eight coarse types, in the order of its codes 1 to 8 (Yan et al. 2018)."""


MOST_POINTS = 100
"""Candidates of a scan: the platform's limit."""


class WeightsError(ValueError):
    """Weights that are missing, damaged or of another architecture; the message is one line."""


class NotFiniteError(RuntimeError):
    """A number of the network, its output or a loss, is NaN or infinite; the message is one line."""


@dataclasses.dataclass(frozen=True)
class DetectorConfig:
    """Everything inference needs to know besides the tensors.

    spacing_mm: edge of the isotropic voxel that the network sees.
    windows_hu: (lower, upper) HU of each input channel, mapped to [-1, 1].
    widths: channels of the network at strides 2, 4, 8, ...
    blocks: residual blocks at each of those strides.
    types: names of the heat maps, in channel order.
    organs: classes of the organ head, in channel order, the background first; empty: there is no such head.
    size_scale_mm: the size head predicts log(size / size_scale_mm).
    calibration: (slope, intercept) on the logit of the heat map (Platt 1999).
    scan_calibration: (slope, intercept) on the logit of the scan's highest probability.
    operating_point: lesion probability above which a lesion is called.
    scan_operating_point: scan likelihood above which a scan is called positive.
    provenance: how the weights were made; free text by key, for people.
    """

    spacing_mm: float = 2.0
    windows_hu: tuple[tuple[float, float], ...] = (
        (-1350.0, 150.0),
        (-100.0, 180.0),
        (-500.0, 1300.0),
    )
    widths: tuple[int, ...] = (32, 64, 96)
    blocks: tuple[int, ...] = (1, 2, 4)
    types: tuple[str, ...] = LESION_TYPES
    organs: tuple[str, ...] = ()
    size_scale_mm: float = 10.0
    calibration: tuple[float, float] = (1.0, 0.0)
    scan_calibration: tuple[float, float] = (1.0, 0.0)
    operating_point: float = 0.5
    scan_operating_point: float = 0.5
    provenance: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.spacing_mm > 0 or len(self.widths) != len(self.blocks) or not self.types:
            raise WeightsError(
                "detector config: expected spacing_mm > 0, one entry of blocks per width and at "
                f"least one type, found {self.spacing_mm}, {self.widths}, {self.blocks}, {self.types}"
            )
        if self.organs and len(self.widths) < 2:
            raise WeightsError(f"detector config: expected two widths with organs, found {self.widths}")
        numbers = (*self.calibration, *self.scan_calibration)
        if len(numbers) != 4 or not all(map(math.isfinite, numbers)) or self.calibration[0] <= 0:
            raise WeightsError(f"detector config: calibration must be finite and rising, found {numbers}")

    @property
    def stride(self) -> int:
        """Voxels of the input per voxel of the coarsest level; inputs are padded to its multiple."""
        return 1 << len(self.widths)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, organs: bool = True) -> DetectorConfig:
        """Inverse of `to_json`. Raises WeightsError on unknown or missing keys.

        organs: whether the text has the key of that name, which an earlier format lacks.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"detector config: expected JSON, found {text[:40]!r} ({error})") from None
        expected = {field.name for field in dataclasses.fields(cls) if organs or field.name != "organs"}
        if not isinstance(values, dict) or set(values) != expected:
            found = sorted(set(values) ^ expected) if isinstance(values, dict) else type(values).__name__
            raise WeightsError(f"detector config: expected exactly {sorted(expected)}, differing: {found}")
        _check_settings(values)
        values["windows_hu"] = tuple((float(lower), float(upper)) for lower, upper in values["windows_hu"])
        for name in ("widths", "blocks", "types", "organs", "calibration", "scan_calibration"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)


def _check_settings(values: dict[str, Any]) -> None:
    """Raises WeightsError where a setting is of another type or size than a network can have."""

    def number(value: object, low: float, high: float) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

    def several(value: object, valid: Callable[[Any], bool], counts: range) -> bool:
        return isinstance(value, list) and len(value) in counts and all(map(valid, value))

    def whole(value: object, high: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= high

    def window(value: object) -> bool:
        return several(value, lambda hu: number(hu, -1e5, 1e5), range(2, 3)) and value[0] < value[1]  # type: ignore[index]

    def name(value: object) -> bool:
        return isinstance(value, str) and 0 < len(value) <= 100

    provenance = values["provenance"]
    texts = isinstance(provenance, dict) and all(isinstance(text, str) for text in provenance.values())
    pair, unit = (lambda value: number(value, -1e3, 1e3)), (0.0, 1.0)
    right = {
        "spacing_mm": number(values["spacing_mm"], 0.1, 50),
        "windows_hu": several(values["windows_hu"], window, range(1, 17)),
        "widths": several(values["widths"], lambda value: whole(value, 4096), range(1, 9)),
        "blocks": several(values["blocks"], lambda value: whole(value, 100), range(1, 9)),
        "types": several(values["types"], name, range(1, 101)),
        "organs": several(values.get("organs", []), name, range(1001)),
        "size_scale_mm": number(values["size_scale_mm"], 1e-3, 1e3),
        "calibration": several(values["calibration"], pair, range(2, 3)),
        "scan_calibration": several(values["scan_calibration"], pair, range(2, 3)),
        "operating_point": number(values["operating_point"], *unit),
        "scan_operating_point": number(values["scan_operating_point"], *unit),
        "provenance": texts,
    }
    for key, fits in right.items():
        if not fits:
            found = json.dumps(values.get(key))[:80]
            raise WeightsError(f"detector config: expected {key} of the right type and size, found {found}")


def find_weights(mounted: Path, own: Path) -> Path:
    """The folder to load from: the mounted one if anything is in it, else that of the program.

    Raises WeightsError where the mounted one holds no .safetensors, or cannot be read: it was meant.
    """
    try:
        names = sorted(path.name for path in mounted.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return own
    except OSError as error:
        raise WeightsError(
            f"{mounted}: expected a folder that can be read, found: {error.strerror}"
        ) from None
    if names and not any(name.endswith(".safetensors") for name in names):
        raise WeightsError(f"{mounted}: expected .safetensors files, found {', '.join(names[:3])}")
    return mounted if names else own

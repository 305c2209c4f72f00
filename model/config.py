"""The detector's settings. They live inside the weights file, so a file explains itself."""

from __future__ import annotations

import dataclasses
import json
import math

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
        except json.JSONDecodeError as error:
            raise WeightsError(f"detector config: expected JSON, found {text[:40]!r} ({error})") from None
        expected = {field.name for field in dataclasses.fields(cls) if organs or field.name != "organs"}
        if not isinstance(values, dict) or set(values) != expected:
            found = sorted(set(values) ^ expected) if isinstance(values, dict) else type(values).__name__
            raise WeightsError(f"detector config: expected exactly {sorted(expected)}, differing: {found}")
        values["windows_hu"] = tuple((float(lower), float(upper)) for lower, upper in values["windows_hu"])
        for name in ("widths", "blocks", "types", "organs", "calibration", "scan_calibration"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)

"""A training run's settings: one TOML file, refused where a key is unknown or a value does not fit.

Paths in the file are relative to it.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from model.config import DetectorConfig
from resources.cases.organs import head_classes
from resources.cases.strict import CaseError, decode_object, refuse
from resources.training.data.batch import SPEAKERS

BY_SOURCE = (*SPEAKERS, "organs")
"""Kinds of supervision whose weight may differ between sources."""


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        refuse(name, "0 to 1", value)


def _check_at_least(name: str, value: float, least: float) -> None:
    if not value >= least:
        refuse(name, f"at least {least:g}", value)


@dataclasses.dataclass(frozen=True)
class Source:
    """Cases of one kind. cases: a file of resources.cases; cache: the folder that caches them.

    share: of the patches; the shares of all sources are divided by their sum. supervision: weights that
    differ from those of the run, by name: `supervision = {unmarked = 0.2}`. pieces: share of its patches that
    show a small piece of a scan in air, cut anywhere around a lesion or elsewhere. Scans that were cropped
    around a lesion need it (1.0), and some of the whole ones beside them: else a network learns that in the
    middle of a crop there is a lesion.
    """

    name: str
    cases: str
    cache: str
    share: float = 1.0
    supervision: dict[str, float] = dataclasses.field(default_factory=dict)
    pieces: float = 0.0

    def __post_init__(self) -> None:
        _check_at_least("share", self.share, 0.0)
        _check_share("pieces", self.pieces)
        for name, weight in self.supervision.items():
            if name not in BY_SOURCE:
                refuse("supervision", f"one of {', '.join(BY_SOURCE)}", name)
            _check_at_least(f"supervision.{name}", weight, 0.0)


@dataclasses.dataclass(frozen=True)
class Network:
    """The detector's architecture; see DetectorConfig. organs: whether it says where organs are too."""

    spacing_mm: float = DetectorConfig.spacing_mm
    windows_hu: tuple[tuple[float, float], ...] = DetectorConfig.windows_hu
    widths: tuple[int, ...] = DetectorConfig.widths
    blocks: tuple[int, ...] = DetectorConfig.blocks
    organs: bool = False

    @property
    def detector(self) -> DetectorConfig:
        organs = head_classes() if self.organs else ()
        return DetectorConfig(self.spacing_mm, self.windows_hu, self.widths, self.blocks, organs=organs)


@dataclasses.dataclass(frozen=True)
class Supervision:
    """Weight of each kind of supervision in the loss; 0 switches it off.

    full: masks, and the rest of what is completely annotated. weak: RECIST marks, boxes and points. unmarked:
    weight of a cell of which nothing is known, taken as free of lesions: 0 ignores it, 1 is the naive
    baseline. teacher: lesions and empty regions the teacher is sure of. report_positive: proposals that
    findings were assigned to. report_negative: what reports clear. geometry: weight of offset and size beside
    the heat maps. organs: of the organ head, wherever there is an organ map.
    """

    full: float = 1.0
    weak: float = 1.0
    unmarked: float = 0.0
    teacher: float = 0.0
    report_positive: float = 0.0
    report_negative: float = 0.0
    geometry: float = 0.3
    organs: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_at_least(field.name, getattr(self, field.name), 0.0)

    @property
    def uses_proposals(self) -> bool:
        """Whether something is learnt from what the teacher proposes."""
        return self.teacher + self.report_positive > 0


@dataclasses.dataclass(frozen=True)
class Teacher:
    """When the averaged network predicts the training scans, and what it takes for sure.

    Rounds are at start_step and every every_steps after. views: mirrored copies of a scan it predicts, 1 to
    8. A proposal of at least positive_above in the mean over views, seen in `persistence` rounds running, is
    a positive; one of at least doubtful_above is ignored; where every view stays below empty_below there is
    no lesion. pictures: mined lesions drawn a round in the audit log.
    """

    start_step: int = 1000
    every_steps: int = 1000
    views: int = 2
    positive_above: float = 0.7
    doubtful_above: float = 0.15
    empty_below: float = 0.03
    persistence: int = 2
    pictures: int = 20

    def __post_init__(self) -> None:
        for name in ("start_step", "pictures"):
            _check_at_least(name, getattr(self, name), 0)
        for name in ("every_steps", "views", "persistence"):
            _check_at_least(name, getattr(self, name), 1)
        if self.views > 8:
            refuse("views", "at most 8", self.views)
        if not 0 < self.empty_below <= self.doubtful_above <= self.positive_above < 1:
            found = (self.empty_below, self.doubtful_above, self.positive_above)
            refuse("teacher", "0 < empty_below <= doubtful_above <= positive_above < 1", found)


@dataclasses.dataclass(frozen=True)
class Optimisation:
    """steps: of the whole run. batch: patches a step, over all ranks. rate: the highest, after warm_up steps.

    kernel_rate: the highest of Muon, which learns the kernels of convolutions in place of AdamW; 0: AdamW.
    average: decay of the averaged weights. clip: greatest norm of the gradient. precision: of Lightning
    Fabric.
    """

    steps: int
    batch: int = 2
    rate: float = 0.002
    kernel_rate: float = 0.0
    weight_decay: float = 1e-4
    warm_up: int = 100
    clip: float = 5.0
    average: float = 0.998
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    checkpoint_every_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            _check_at_least(name, getattr(self, name), 1)
        for name in ("kernel_rate", "weight_decay", "warm_up", "checkpoint_every_s"):
            _check_at_least(name, getattr(self, name), 0)
        if self.checkpoint_every_s > 60:
            refuse("checkpoint_every_s", "at most 60", self.checkpoint_every_s)
        if not self.rate > 0 or not self.clip > 0:
            refuse("rate, clip", "more than 0", (self.rate, self.clip))
        _check_share("average", self.average)


@dataclasses.dataclass(frozen=True)
class Patches:
    """shape: voxels (z, y, x), multiples of the network's stride. workers: processes that cut patches.

    Shares of the patches: lesion, near one, by size in equal parts; hard, where the averaged network was last
    wrong; the rest anywhere.
    """

    shape: tuple[int, int, int] = (64, 80, 80)
    lesion: float = 0.6
    hard: float = 0.1
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("lesion", "hard"):
            _check_share(name, getattr(self, name))
        _check_share("lesion + hard", self.lesion + self.hard)
        _check_at_least("workers", self.workers, 0)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Largest change of each kind; 0 is none. rotation_deg: around z (a quarter of it around the others).

    scale: as a share. flip: probability of a mirror image, left to right (types know no side). gain,
    shift_hu: of all HU. phase_hu: of soft tissue that takes up contrast. noise_hu: standard deviation.
    blur_mm: sigma in the plane. slice_mm: thickest slice that is simulated along z.
    """

    rotation_deg: float = 12.0
    scale: float = 0.15
    flip: float = 0.5
    gain: float = 0.03
    shift_hu: float = 12.0
    phase_hu: float = 25.0
    noise_hu: float = 12.0
    blur_mm: float = 0.8
    slice_mm: float = 5.0


@dataclasses.dataclass(frozen=True)
class Validation:
    """Whole scans, by the code of inference: every every_steps and at the end; the best CPM is kept."""

    cases: str
    cache: str
    every_steps: int = 1000

    def __post_init__(self) -> None:
        _check_at_least("every_steps", self.every_steps, 1)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """start: weights to begin with. work: folder of checkpoints, logs and pseudo-labels."""

    work: str
    sources: tuple[Source, ...]
    optimisation: Optimisation
    validation: Validation | None = None
    network: Network = Network()
    supervision: Supervision = Supervision()
    teacher: Teacher = Teacher()
    patches: Patches = Patches()
    augmentation: Augmentation = Augmentation()
    start: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sources or sum(source.share for source in self.sources) <= 0:
            refuse("sources", "at least one with a share above 0", len(self.sources))
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            refuse("sources", "names that differ", names)
        if self.strongest.organs > 0 and not self.network.organs:
            refuse("supervision.organs", "0 without network.organs", self.strongest.organs)
        stride = self.network.detector.stride
        if any(n <= 0 or n % stride for n in self.patches.shape):
            refuse("patches.shape", f"multiples of {stride}", self.patches.shape)

    def of(self, source: Source) -> TrainingConfig:
        """The settings that hold for patches of one source."""
        weights = dataclasses.replace(self.supervision, **source.supervision)
        return dataclasses.replace(self, supervision=weights)

    @property
    def strongest(self) -> Supervision:
        """The greatest weight that any source gives each kind of supervision: above 0 where it is used."""
        base = {name: getattr(self.supervision, name) for name in BY_SOURCE}
        used = [base | source.supervision for source in self.sources if source.share > 0]
        most = {name: max(one[name] for one in used) for name in BY_SOURCE}
        return dataclasses.replace(self.supervision, **most)


def read_config(path: Path) -> TrainingConfig:
    """The settings of a file, its paths made absolute. Raises CaseError naming file, field and value."""
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
        config = decode_object(TrainingConfig, values)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CaseError(f"{path}: expected a TOML file, found: {error}") from None
    except (CaseError, ValueError, TypeError) as error:
        raise CaseError(f"{path}: {error}") from None

    def placed(part: Any, *names: str) -> Any:
        folder = path.parent.absolute()
        changed = {n: os.path.normpath(folder / getattr(part, n)) for n in names if getattr(part, n)}
        return dataclasses.replace(part, **changed)

    return dataclasses.replace(
        placed(config, "work", "start"),
        sources=tuple(placed(source, "cases", "cache") for source in config.sources),
        validation=placed(config.validation, "cases", "cache") if config.validation else None,
    )

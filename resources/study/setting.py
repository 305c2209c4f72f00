"""A setting of the study: which scans, what is known of them, and the arms; one TOML file each.

The files lie in resources/study/settings. A key that does not exist is refused.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Literal

from model.config import LESION_TYPES
from resources.cases.strict import CaseError, decode_object, refuse
from resources.study.rules import Rule
from resources.training.config import Network, Supervision, Teacher
from resources.training.config import Source as TrainingSource

FOLDER = Path(__file__).parent / "settings"
REAL_VIEWS = ("masks", "marks", "images")
HELD = ("validation", "test")
"""Lists that every setting has besides those it trains on."""
ELSEWHERE = "elsewhere"
"""A list that a setting may have: test scans of another site, on which the arms are measured too."""


@dataclasses.dataclass(frozen=True)
class Scans:
    """One set of synthetic scans, by the options of resources.synthetic; None: as its site has it."""

    seed: int
    count: int
    site: Literal["A", "B", "C"] = "A"
    split: Literal["train", "validation", "test"] = "train"
    lesions: int | None = None
    types: tuple[str, ...] = ()
    coverage: str | None = None


@dataclasses.dataclass(frozen=True)
class Cases:
    """A case list: what is known of some sets of scans.

    real: lists of real scans, by the names that resources.study.real gives them, in place of synthetic
    `scans`. patients: of these lists those of a fifth of the patients, by a hash of their names, or of the
    others. view: "masks" of all lesions; "types": masks of `types` alone, complete within `organs` and
    nowhere else; "marks": some RECIST marks (`deeplesion` of resources.synthetic; of real scans on half of
    the lesions); "reports": read reports and no mark; "images": neither. mapped: whether organ maps come from
    the base's organ head; else scans with masks have their true one and the others none. of, rule: the
    lesions that a rule of resources.study.rules makes of the reports of another list, in place of `scans`.
    """

    scans: tuple[str, ...] = ()
    view: Literal["masks", "types", "marks", "reports", "images"] = "masks"
    types: tuple[str, ...] = ()
    organs: tuple[str, ...] = ()
    mapped: bool = False
    real: tuple[str, ...] = ()
    patients: Literal["all", "fifth", "others"] = "all"
    of: str = ""
    rule: Rule | None = None

    def __post_init__(self) -> None:
        if [bool(self.scans), bool(self.real), bool(self.of)].count(True) != 1:
            refuse("scans, real, of", "lists of one of them", (self.scans, self.real, self.of))
        if bool(self.of) != bool(self.rule):
            refuse("rule", "one exactly with of", self.rule)
        if self.real and (self.mapped or self.view not in REAL_VIEWS):
            refuse("view", f"of {', '.join(REAL_VIEWS)} for real scans", self.view)
        if (self.view == "types") != bool(self.types) or bool(self.types) != bool(self.organs):
            refuse("types, organs", "values exactly for the view types", (self.view, self.types, self.organs))
        unknown = sorted(set(self.types) - set(LESION_TYPES))
        if unknown:
            refuse("types", f"of {', '.join(LESION_TYPES)}", unknown)


@dataclasses.dataclass(frozen=True)
class Source:
    """Of one case list: share of the patches, weights of the supervision where they differ, and `pieces`."""

    share: float = 1.0
    supervision: dict[str, float] = dataclasses.field(default_factory=dict)
    pieces: float = 0.0


@dataclasses.dataclass(frozen=True)
class Arm:
    """title: in the tables. sources: by name of the case list. teacher: None if it never looks."""

    title: str
    sources: dict[str, Source]
    supervision: Supervision = Supervision()
    teacher: Teacher | None = None

    def of(self, name: str) -> Arm:
        """With the supervision that holds for patches of one case list."""
        weights = dataclasses.replace(self.supervision, **self.sources[name].supervision)
        return dataclasses.replace(self, supervision=weights)


@dataclasses.dataclass(frozen=True)
class Contrast:
    """`arm` against the best of `against` in the primary measure. primary: counts in Holm's correction."""

    arm: str
    against: tuple[str, ...]
    primary: bool = False


@dataclasses.dataclass(frozen=True)
class Setting:
    """scan_mm: edge of the voxels at which scans are made. common: TOML that all runs of the training have:
    network, patches, augmentation.

    optimisation: its lines but for `steps` and the rates. rate, kernel_rate: of the base; arms go on at half
    of them. start: weights that are the base, a path in the repository; base_steps is 0. endpoint: what the
    arms are compared in: their mean sensitivity, or the share of false positives that an arm saves at the
    sensitivity that the other has at 4 of them a scan. without_masks: lesion types of the primary stratum,
    all if empty. headroom: the arm that has everything and the one that has nothing new; least_headroom:
    their difference in the endpoint on the validation scans below which no other arm runs.
    """

    title: str
    question: str
    scan_mm: float
    scans: dict[str, Scans]
    cases: dict[str, Cases]
    base: Arm
    base_steps: int
    arm_steps: int
    arms: dict[str, Arm]
    contrasts: tuple[Contrast, ...]
    headroom: tuple[str, str]
    common: str
    optimisation: str
    rate: float = 0.003
    kernel_rate: float = 0.0
    start: str = ""
    endpoint: Literal["mean", "saved"] = "mean"
    seeds: tuple[int, ...] = (1, 2)
    without_masks: tuple[str, ...] = ()
    least_headroom: float = 0.1

    def __post_init__(self) -> None:
        if bool(self.start) == bool(self.base_steps):
            refuse("base_steps", "more than 0 exactly without start", self.base_steps)
        for name in (*HELD, *self.tests):
            if name not in self.cases or self.cases[name].view != "masks":
                refuse("cases", f"a list {name} with masks", sorted(self.cases))
        if ELSEWHERE in self.cases and self.cases[ELSEWHERE].real:
            refuse(f"cases.{ELSEWHERE}", "synthetic scans", self.cases[ELSEWHERE].real)
        trained_on = set(self.cases) - {*HELD, ELSEWHERE}
        for name, own in self.cases.items():
            missing = [each for each in own.scans if each not in self.scans]
            if missing:
                refuse(f"cases.{name}.scans", f"of {', '.join(self.scans)}", missing)
            listed = list(self.cases)
            if own.of and not (own.of in listed[: listed.index(name)] and self.cases[own.of].mapped):
                refuse(f"cases.{name}.of", "a list before it, with organ maps of the base", own.of)
        for name, arm in {"base": self.base, **self.arms}.items():
            missing = [each for each in arm.sources if each not in trained_on]
            if missing:
                refuse(f"{name}.sources", f"of {', '.join(sorted(trained_on))}", missing)
        named = [*self.headroom, *(n for c in self.contrasts for n in (c.arm, *c.against))]
        missing = [name for name in named if name not in self.arms]
        if missing:
            refuse("contrasts, headroom", f"of {', '.join(self.arms)}", missing)

    @property
    def tests(self) -> tuple[str, ...]:
        """Lists that the arms are measured on, the first for the primary contrasts."""
        return ("test", ELSEWHERE) if ELSEWHERE in self.cases else ("test",)

    @property
    def is_real(self) -> bool:
        """Whether the arms are measured on real scans."""
        return bool(self.cases["test"].real)

    @property
    def network(self) -> Network:
        """Of every run. Raises CaseError."""
        found: Network = decode_object(Network, tomllib.loads(self.common).get("network", {}), "network")
        return found


def names() -> list[str]:
    """Of all settings."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_setting(path: Path) -> Setting:
    """Raises CaseError naming file, field, what was expected and found."""
    try:
        with path.open("rb") as file:
            setting: Setting = decode_object(Setting, tomllib.load(file))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CaseError(f"{path}: expected a TOML file, found: {error}") from None
    except CaseError as error:
        raise CaseError(f"{path}: {error}") from None
    return setting


def training_file(setting: Setting, work: Path, run: str, arm: Arm, seed: int, start: Path | None) -> str:
    """The TOML of one run of resources.training: of the base without `start`, else of an arm.

    Runs that are measured on real scans are neither validated nor calibrated: crops tell no probability.
    """
    steps = setting.base_steps if start is None else setting.arm_steps
    part = 1.0 if start is None else 0.5
    lines = [f"work = {_text(work / 'runs' / run)}", f"seed = {seed}"]
    if start is not None:
        lines.append(f"start = {_text(start)}")
    for name, source in arm.sources.items():
        own = TrainingSource(name, *_places(work, name), source.share, source.supervision, source.pieces)
        weights = ", ".join(f"{key} = {value}" for key, value in own.supervision.items())
        lines += ["[[sources]]", f"name = {_text(name)}", f"cases = {_text(own.cases)}"]
        lines += [f"cache = {_text(own.cache)}", f"share = {own.share}"]
        lines += [f"pieces = {own.pieces}", f"supervision = {{{weights}}}"]
    if not setting.is_real:
        cases, cache = map(_text, _places(work, "validation"))
        lines += ["[validation]", f"cases = {cases}", f"cache = {cache}", f"every_steps = {steps}"]
    lines += ["[supervision]", *_values(arm.supervision)]
    if arm.teacher is not None:
        lines += ["[teacher]", *_values(arm.teacher)]
    lines += ["[optimisation]", f"steps = {steps}", f"rate = {part * setting.rate}"]
    lines += [f"kernel_rate = {part * setting.kernel_rate}", setting.optimisation.strip(), setting.common]
    return "\n".join(lines)


def _places(work: Path, name: str) -> tuple[str, str]:
    """The file of a case list, and the folder of its cache."""
    return str(work / "cases" / f"{name}.jsonl"), str(work / "cache" / name)


def _values(settings: Supervision | Teacher) -> list[str]:
    return [f"{field.name} = {getattr(settings, field.name)}" for field in dataclasses.fields(settings)]


def _text(value: object) -> str:
    return json.dumps(str(value))

"""What became of every lesion and every prediction: a case as plain rows, all cases as a table per rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model.geometry import Geometry
from resources.cases.case import Case
from resources.evaluation import EvaluationError
from resources.evaluation.frame import Frame, place_of
from resources.evaluation.matching import (
    DUPLICATE,
    FALSE,
    HIT,
    IGNORED,
    Bools,
    Candidates,
    Floats,
    Rule,
    match,
)
from resources.evaluation.predictions import Prediction
from resources.evaluation.truth import LabelImages, Lesion, complete_in, lesions_of, targets_of

OUTSIDE_MM, FEWEST_OUTSIDE = 5.0, 3
"""Points this far beyond the image are false positives like others; but where they are that many and more
than half of a scan's, they were written in another frame."""
UNJUDGED = "not judged"
"""A false positive where the scan is not exhaustively annotated: nobody knows."""
WORLD = Frame(Geometry((1, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3)), known=False)


@dataclass(frozen=True)
class Truth:
    """A case made ready for matching. frame: the world where the image is not there (has_image False)."""

    case: Case
    frame: Frame
    labels: LabelImages
    lesions: tuple[Lesion, ...]
    lesion_complete: Bools
    has_image: bool

    @property
    def judged(self) -> bool:
        """Whether false positives can be counted at all."""
        return self.case.completeness.kind != "none"


def truth_of(case: Case, exclude: tuple[str, ...]) -> Truth:
    """Raises EvaluationError."""
    place = place_of(case)
    frame, labels = WORLD if place is None else Frame(place), LabelImages(place)
    lesions = lesions_of(case, frame, labels, exclude)
    centres = np.array([lesion.centre_mm for lesion in lesions]).reshape(-1, 3)
    truth = Truth(case, frame, labels, lesions, complete_in(case, frame, centres, labels), place is not None)
    labels.forget()
    return truth


@dataclass(frozen=True)
class Outcome:
    """One case under one rule: per prediction its lesion (-1: none) and its fate."""

    found: npt.NDArray[np.intp]
    fates: tuple[str, ...]


def count_outside(truth: Truth, prediction: Prediction) -> int:
    """How many points lie outside the image. Raises EvaluationError where most of them do."""
    outside = truth.frame.outside_mm(truth.frame.of_world(prediction.points_mm))
    count = int((outside > OUTSIDE_MM).sum())
    if count >= FEWEST_OUTSIDE and 2 * count > len(outside):
        worst = int(outside.argmax())
        place = ", ".join(f"{mm:g}" for mm in prediction.points_mm[worst])
        raise EvaluationError(
            f"case {truth.case.id}: expected points inside the image (LPS mm), found {count} of "
            f"{len(outside)} outside; points[{worst}] at ({place}) is {outside[worst]:.0f} mm off"
        )
    return count


def outcomes_of(truth: Truth, prediction: Prediction, rules: Iterable[Rule]) -> dict[str, Outcome]:
    """By name of the rule."""
    frame = truth.frame
    points = frame.of_world(prediction.points_mm)
    boxes = None if prediction.boxes_mm is None else frame.of_world_boxes(prediction.boxes_mm)
    candidates = Candidates(points, prediction.probability, boxes)
    targets = targets_of(truth.lesions, points, frame)
    complete = complete_in(truth.case, frame, points, truth.labels)
    truth.labels.forget()
    outcomes = {}
    for rule in rules:
        assigned, fates = match(rule, candidates, targets)
        fates = [
            UNJUDGED if fate == FALSE and not there else fate
            for fate, there in zip(fates, complete, strict=True)
        ]
        outcomes[rule.name] = Outcome(assigned, tuple(fates))
    return outcomes


@dataclass(frozen=True)
class Table:
    """All cases under one rule, as columns.

    A row of lesion_* is a lesion that counts: its case, its number among the case's lesions, the prediction
    that finds it (-1: none) with its probability (-inf), and whether its place is exhaustively annotated. A
    row of false_* is a false positive in a case where these are counted. judged: (cases,) whether they are.
    fates: how many predictions became what, duplicates of unjudged scans included.
    """

    cases: int
    judged: Bools
    lesion_case: npt.NDArray[np.intp]
    lesion_number: npt.NDArray[np.intp]
    lesion_prediction: npt.NDArray[np.intp]
    lesion_score: Floats
    lesion_complete: Bools
    false_case: npt.NDArray[np.intp]
    false_prediction: npt.NDArray[np.intp]
    false_score: Floats
    false_duplicate: Bools
    fates: dict[str, int]

    @property
    def lesions(self) -> npt.NDArray[np.intp]:
        """(cases,) lesions in each."""
        return np.bincount(self.lesion_case, minlength=self.cases)

    def only(self, keep: Bools) -> Table:
        """The rows of some lesions, all false positives: sensitivity of a stratum at the whole's rates."""
        columns = {
            name: getattr(self, name)[keep]
            for name in self.__dataclass_fields__
            if name.startswith("lesion_")
        }
        return replace(self, **columns)

    def of_cases(self, keep: Bools) -> Table:
        """The rows of some cases; the others count as not judged and without lesions."""
        rows = {"lesion": keep[self.lesion_case], "false": keep[self.false_case]}
        columns = {
            name: getattr(self, name)[rows[kind]]
            for name in self.__dataclass_fields__
            if (kind := name.split("_")[0]) in rows and "_" in name
        }
        return replace(self, judged=self.judged & keep, **columns)


def table_of(
    rule: Rule, truths: list[Truth], predictions: Iterable[Prediction], outcomes: Iterable[Outcome]
) -> Table:
    """Gathers the outcomes of all cases under one rule; lesions that it cannot judge are left out."""
    lesion_rows: list[tuple[int, int, int, float, bool]] = []
    false_rows: list[tuple[int, int, float, bool]] = []
    fates = dict.fromkeys((HIT, FALSE, DUPLICATE, IGNORED, UNJUDGED), 0)
    for number, (truth, prediction, outcome) in enumerate(zip(truths, predictions, outcomes, strict=True)):
        finder = {int(lesion): i for i, lesion in enumerate(outcome.found) if lesion >= 0}
        for place, lesion in enumerate(truth.lesions):
            if lesion.annotation.status == "lesion" and (lesion.sized or not rule.needs_boxes):
                by = finder.get(place, -1)
                score = float(prediction.probability[by]) if by >= 0 else -np.inf
                lesion_rows.append((number, place, by, score, bool(truth.lesion_complete[place])))
        for i, fate in enumerate(outcome.fates):
            fates[fate] += 1
            if truth.judged and fate in (FALSE, DUPLICATE):
                false_rows.append((number, i, float(prediction.probability[i]), fate == DUPLICATE))

    def column(rows: list, place: int, kind: type) -> npt.NDArray:
        return np.array([row[place] for row in rows], kind)

    return Table(
        cases=len(truths),
        judged=np.array([truth.judged for truth in truths], bool),
        lesion_case=column(lesion_rows, 0, np.intp),
        lesion_number=column(lesion_rows, 1, np.intp),
        lesion_prediction=column(lesion_rows, 2, np.intp),
        lesion_score=column(lesion_rows, 3, np.float64),
        lesion_complete=column(lesion_rows, 4, np.bool_),
        false_case=column(false_rows, 0, np.intp),
        false_prediction=column(false_rows, 1, np.intp),
        false_score=column(false_rows, 2, np.float64),
        false_duplicate=column(false_rows, 3, np.bool_),
        fates=fates,
    )

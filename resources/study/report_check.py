"""What a second look at a scan with its report gets right, counted against what the report's writer meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from resources.cases.case import Finding
from resources.review.second_look import SecondLook
from resources.synthetic.report_sentences import Mention
from resources.training.reports.matching import wanted_of


@dataclasses.dataclass(frozen=True)
class Count:
    """Answers that are right, were given, and are there to be given."""

    right: int = 0
    made: int = 0
    there: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.right + other.right, self.made + other.made, self.there + other.there)

    @property
    def precision(self) -> float:
        return self.right / self.made if self.made else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.there if self.there else 1.0


@dataclasses.dataclass(frozen=True)
class Checked:
    """The answers of a second look.

    mentioned: detections of lesions that the report tells of. placed: these, right only if they were given to
    words that mean this very lesion. unmentioned: detections that it does not tell of, omitted lesions and
    false ones alike. undetected: findings of the report of which fewer lesions were detected than it tells
    (two of "several").
    """

    mentioned: Count = Count()
    placed: Count = Count()
    unmentioned: Count = Count()
    undetected: Count = Count()

    def __add__(self, other: Checked) -> Checked:
        return Checked(
            self.mentioned + other.mentioned,
            self.placed + other.placed,
            self.unmentioned + other.unmentioned,
            self.undetected + other.undetected,
        )


def check(look: SecondLook, mentions: Iterable[Mention], labels: Sequence[int]) -> Checked:
    """Counts one scan's answers. labels: the lesion of each detection, in their order; -1 for false ones.

    mentions: what the writer of the report meant. A lesion that the report does not tell of cannot be found
    in it, so it is "there" to be called unmentioned, not to be mentioned.
    """
    stated = [m for m in mentions if m.finding.presence != "absent" and m.finding.time == "current"]
    told = {label for mention in stated for label in mention.lesions}
    given = {m.detection: look.findings[m.finding] for m in look.mentions}
    numbered = list(enumerate(labels, 1))
    spoken = [label for number, label in numbered if number in given]
    own = sum(
        any(label in m.lesions and _meet(given[number], m.finding) for m in stated)
        for number, label in numbered
        if number in given
    )
    there = sum(label in told for label in labels)
    right = sum(label in told for label in spoken)
    silent = [label for number, label in numbered if number not in given]
    unmentioned = Count(
        sum(label not in told for label in silent), len(silent), sum(label not in told for label in labels)
    )
    lacking = [
        m.finding
        for m in stated
        if not m.optional and any(len({*m.lesions} & {*labels}) < w.count for w in wanted_of([m.finding]))
    ]
    lost = [look.findings[number] for number in look.lost]
    undetected = Count(
        min(sum(any(_meet(f, m) for m in lacking) for f in lost), len(lacking)), len(lost), len(lacking)
    )
    return Checked(Count(right, len(spoken), there), Count(own, len(spoken), there), unmentioned, undetected)


def _meet(one: Finding, other: Finding) -> bool:
    """Whether two findings speak of the same words."""
    return one.span[0] < other.span[1] and other.span[0] < one.span[1]

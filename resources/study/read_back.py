"""How much of what synthetic reports say the report reader finds: F1 by language and site.

    python -m resources.study.read_back --count 500 [--site A] [--language nl] [--seeds odd] [--show 10]

Reports of the seeds 0 to count - 1 are written for each site and language and read back. Counted are, for
F1 of present findings, type, organ and sizes together; for F1 of negatives, the organ (each once a report).
Writer and reader name some things more finely than the other. By the reader's place table:

- Organ: what was read must be the written organ or a place within it, of organs.tsv
  ("vertebra" is the reader's "spine"; "abdominal fat" any of the abdomen's spaces). A lymph node may be of
  any station, for the writer names none; type tells chest, abdomen, pelvis and body wall apart.
- Sizes: the same diameters in any order, to half a millimetre.
- Resolved lesions: the writer calls them present, the reader absent, both "resolved" in time. They count
  among the present findings, without sizes, for absent findings of the reader have none.
- Uncertain findings count among the present ones.
- Optional mentions (former sizes, what a conclusion repeats) count neither way: read, they are taken out.
- Negatives: nodes count by type; any bone is "bone"; what has the type "soft tissue" is that; the whole
  chest, abdomen, pelvis or body is the whole scan (None); else the organ. Normal organs that the writer never
  speaks of as a subject (gallbladder, aorta, ...) are asides of its texts, and count neither way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Hashable, Iterable, Sequence

from rich.console import Console
from rich.progress import track

from resources.cases.case import Finding
from resources.cases.organs import canonical
from resources.reports.reader import read_report
from resources.reports.score import Count
from resources.reports.vocabulary import ancestors
from resources.synthetic.report_phrases import Language
from resources.synthetic.report_plan import STYLES
from resources.synthetic.report_sentences import Mention
from resources.synthetic.report_writer import Report, sample_report

LANGUAGES: tuple[Language, ...] = ("en", "nl")
SPACES = ("abdomen", "upper abdomen", "mesentery", "omentum", "peritoneum", "retroperitoneum")
WIDER = {"vertebra": ("spine",), "subcutaneous fat": ("soft tissue", "body wall")}
"""Places around an organ of the writer that count as the organ."""
WIDE = ("chest", "abdomen", "pelvis", "upper abdomen", "trunk", "abdominal organs")
SUBJECTS = ("lung", "liver", "spleen", "pancreas", "adrenal gland", "kidney")
HALF_MM = 0.5


def is_stated(finding: Finding) -> bool:
    """Whether it counts among the present findings."""
    return finding.presence != "absent" or finding.time == "resolved"


def same_organ(read: str | None, written: str | None) -> bool:
    """Whether a read organ is the written one, or lies in it."""
    if read is None or written is None:
        return read == written
    if read.endswith("lymph node") or written == "lymph node":
        return read.endswith("lymph node") and written == "lymph node"
    if written == "abdominal fat":
        return read in SPACES
    wanted = {canonical(written)[0], *WIDER.get(written, ())}
    return not wanted.isdisjoint(ancestors(read))


def same_sizes(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(
        abs(a - b) <= HALF_MM for a, b in zip(sorted(one), sorted(other), strict=True)
    )


def matches(read: Finding, written: Finding) -> bool:
    """Type, organ, sizes, and whether it is resolved."""
    gone = written.time == "resolved"
    return (
        (read.time == "resolved") == gone
        and read.type == written.type
        and same_organ(read.organ, written.organ)
        and (gone or same_sizes(read.sizes_mm, written.sizes_mm))
    )


def compare_stated(read: Iterable[Finding], mentions: Iterable[Mention]) -> tuple[Count, list[str]]:
    """The score of one report's present findings, and each error in words."""
    left = [finding for finding in read if is_stated(finding)]
    stated = [m for m in mentions if is_stated(m.finding)]
    wanted = [m.finding for m in stated if not m.optional]
    score, missed = Count(), []
    for finding in wanted:
        match = next((other for other in left if matches(other, finding)), None)
        if match is None:
            missed.append(f"missed {_shown(finding)}")
        else:
            left.remove(match)
            score.right += 1
    for mention in stated:
        match = next((other for other in left if mention.optional and _repeats(other, mention.finding)), None)
        if match is not None:
            left.remove(match)
    score.add(0, score.right + len(left), len(wanted))
    return score, missed + [f"extra  {_shown(finding)}" for finding in left]


def _repeats(read: Finding, optional: Finding) -> bool:
    """Whether a finding is an optional one; in a conclusion without sizes, some with a region alone."""
    return (
        read.type == optional.type
        and (
            optional.organ is None
            or same_organ(read.organ, optional.organ)
            or _part(optional) in (read.organ, _part(read))
        )
        and same_sizes(read.sizes_mm, optional.sizes_mm)
    )


def _part(finding: Finding) -> Hashable:
    """What a negative is about, or a conclusion: the region of a type, bone, or an organ."""
    organ, kind = finding.organ, finding.type
    if organ is None:
        return None
    if organ.endswith("lymph node"):
        return ("lymph node", kind)
    if kind in ("bone", "soft tissue"):
        return kind
    return organ


def compare_negatives(read: Iterable[Finding], mentions: Iterable[Mention]) -> tuple[Count, list[str]]:
    """The score of one report's absent findings by organ, and each error in words."""
    spoken = {
        _part(m.finding) for m in mentions if m.finding.presence == "absent" and not is_stated(m.finding)
    }
    denied = {
        None if finding.organ in WIDE else _part(finding)
        for finding in read
        if not is_stated(finding) and _is_subject(finding)
    }
    score = Count()
    score.add(len(denied & spoken), len(denied), len(spoken))
    missed = [f"missed no {part}" for part in spoken - denied]
    return score, missed + [f"extra  no {part}" for part in denied - spoken]


def _is_subject(finding: Finding) -> bool:
    """Whether the writer has negatives of this organ."""
    organ = finding.organ
    return (
        organ is None
        or organ in WIDE
        or organ.endswith("lymph node")
        or organ in SUBJECTS
        or finding.type in ("bone", "soft tissue")
    )


def _shown(f: Finding) -> str:
    sizes = " x ".join(f"{mm:g}" for mm in f.sizes_mm)
    return f"{f.type}: {f.organ}, {sizes or 'no size'}, {f.presence} {f.time}"


def score_report(report: Report) -> tuple[Count, Count, list[str]]:
    """Counts of present findings and of negatives of one report, and its errors."""
    read = read_report(report.text)
    stated, wrong = compare_stated(read, report.mentions)
    negatives, more = compare_negatives(read, report.mentions)
    return stated, negatives, wrong + more


def score_cell(site: str, language: Language, seeds: Sequence[int]) -> tuple[Count, Count, list[str]]:
    """Counts over the reports of these seeds, and each report that has errors, with them."""
    stated, negatives, wrong = Count(), Count(), []
    for seed in track(
        seeds, f"{site} {language}", console=Console(stderr=True), disable=not sys.stderr.isatty()
    ):
        _, report = sample_report(language, site, seed)
        *scores, errors = score_report(report)
        for total, one in zip((stated, negatives), scores, strict=True):
            total.add(one.right, one.read, one.annotated)
        if errors:
            wrong.append("\n".join([f"=== seed {seed}", report.text, *errors]))
    return stated, negatives, wrong


def _counts(score: Count) -> str:
    return f"{score.f1:.3f} ({score.right} of {score.read} read, {score.annotated} written)"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.read_back", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--count", type=int, default=500, help="reports of each site and language")
    parser.add_argument("--site", choices=sorted(STYLES), help="without it, all")
    parser.add_argument("--language", choices=LANGUAGES, help="without it, both")
    parser.add_argument("--seeds", choices=("all", "even", "odd"), default="all")
    parser.add_argument("--show", type=int, default=0, help="print so many reports with errors of each kind")
    options = parser.parse_args(arguments)
    seeds = range(options.seeds == "odd", options.count, 1 if options.seeds == "all" else 2)
    for site in [options.site] if options.site else sorted(STYLES):
        for language in [options.language] if options.language else LANGUAGES:
            stated, negatives, wrong = score_cell(site, language, seeds)
            print(
                f"site {site} {language}: present {_counts(stated)}; negatives {_counts(negatives)}",
                flush=True,
            )
            print("\n\n".join(wrong[: options.show]), end="\n" * bool(options.show))


if __name__ == "__main__":
    main()

"""Case lists: from data sets, checked, described, cached. Synthetic ones: python -m resources.synthetic."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.config import LESION_TYPES, DetectorConfig
from model.volume import InputError
from resources.cases import cache, deeplesion, deeplesion_truth, inhouse, masks, reviewed
from resources.cases.case import Case, CaseError, read_cases, write_cases
from resources.cases.describe import check_files, describe, draw
from resources.cases.patients import read_or_make_key, split_of
from resources.cases.work import Outcome, add_worker_options, default_processes, run_jobs
from resources.cli import counted, end_with


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, 1 if some scans failed, 2 on an error, which is a line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except (CaseError, InputError, OSError) as error:
        return end_with(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m resources.cases", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_converters(commands)
    _add_reviews(commands)
    sub = _command(commands, "check", _check, "Reads a case list and checks that its files are there and fit")
    sub.add_argument("cases", type=Path)
    sub.add_argument("--no-files", action="store_true", help="only the list itself")
    add_worker_options(sub, ray=True)
    sub = _command(commands, "describe", _describe, "Counts by source, split, completeness, type and size")
    sub.add_argument("cases", type=Path)
    sub.add_argument("--figure", type=Path, help="also draw them: a PNG")
    sub = _command(commands, "cache", _cache, "Preprocesses scans into chunks; the same command goes on")
    sub.add_argument("cases", type=Path)
    sub.add_argument("--out", type=Path, required=True, help="folder of the cache")
    usual = DetectorConfig()
    sub.add_argument(
        "--spacing-mm", dest="spacing", type=float, default=usual.spacing_mm, help="the network's"
    )
    sub.add_argument("--stride", type=int, default=usual.stride, help="the network's")
    add_worker_options(sub, ray=True)
    return parser


def _command(commands: Any, name: str, run: Callable[[Any], Any], text: str) -> argparse.ArgumentParser:
    sub: argparse.ArgumentParser = commands.add_parser(name, help=text.split("\n")[0], description=text)
    sub.set_defaults(run=run)
    return sub


def _add_converters(commands: Any) -> None:
    sub = _command(commands, "deeplesion", _deeplesion, "DeepLesion: DL_info.csv and its PNG slices")
    sub.add_argument("--table", type=Path, required=True, help="DL_info.csv")
    sub.add_argument(
        "--images", type=Path, required=True, help="Images_png, a zip of it, or a folder of the zips"
    )
    sub.add_argument(
        "--lens", type=Path, help="LENS's 3D boxes, JSON or CSV: makes those sub-volumes complete"
    )
    sub.add_argument("--harvester", type=Path, help="Lesion Harvester's 3D boxes, JSON or CSV: the same")
    sub.add_argument(
        "--lesanet", type=Path, action="append", default=[], help="LesaNet's labels; several allowed"
    )
    _out(sub)
    sub = _command(
        commands, "uls23", _uls23, "ULS23: volumes of interest, in which the central lesion is annotated"
    )
    sub.add_argument("--root", type=Path, required=True, help="folder above the folders images and labels")
    sub.add_argument(
        "--table", type=Path, help="DL_info.csv: DeepLesion's patients keep their official split"
    )
    _shares(sub)
    add_worker_options(sub, ray=True)
    _out(sub)
    sub = _command(
        commands,
        "masks",
        _masks,
        "Folders of images and label images (nnU-Net, Medical Segmentation Decathlon)",
    )
    sub.add_argument("--images", type=Path, required=True, help="folder: imagesTr")
    sub.add_argument("--labels", type=Path, required=True, help="folder: labelsTr")
    sub.add_argument("--source", required=True, help="name of the data set")
    sub.add_argument("--lesion", action="append", required=True, metavar="VALUE[=TYPE]",
                     help=f"label value of lesions and their type ({', '.join(LESION_TYPES)})")  # fmt: skip
    sub.add_argument(
        "--organ", action="append", default=[], metavar="VALUE=NAME", help="label value of an organ"
    )
    sub.add_argument("--complete", choices=("all", "organs", "none"), default="none",
                     help="where all lesions are annotated: everywhere, in the organs named, or nobody knows "
                     "(default)")  # fmt: skip
    sub.add_argument("--split", choices=("train", "validation", "test"), help="of all cases; else by patient")
    _shares(sub)
    add_worker_options(sub, ray=True)
    _out(sub)
    sub = _command(commands, "inhouse", _inhouse, inhouse.__doc__ or "")
    sub.add_argument("--table", type=Path, required=True, help="the CSV")
    sub.add_argument("--source", required=True, help="name of the site")
    sub.add_argument("--reports", type=Path, help="folder with the reports as ID.txt")
    sub.add_argument(
        "--organs", type=Path, help="folder with TotalSegmentator's label maps (--ml) as ID.nii.gz"
    )
    sub.add_argument("--pseudonyms", type=Path, metavar="KEYFILE",
                     help="replace patients' names and ids by keyed hashes; the key is made if missing. "
                     "Paths of scans and texts of reports are not changed")  # fmt: skip
    _shares(sub)
    _out(sub)


def _add_reviews(commands: Any) -> None:
    sub = _command(commands, "reviews", _reviews, reviewed.__doc__ or "")
    sub.add_argument("reviews", type=Path, nargs="+", help="files that the page saved, or folders of them")
    sub.add_argument(
        "--cases", type=Path, required=True, help="where the scans lie: OUT/cases.jsonl of the review"
    )
    _shares(sub)
    _out(sub)


def _out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="the case list to write (JSON Lines)")


def _shares(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--validation", type=float, default=0.1, help="share of the patients (default 0.1)")
    parser.add_argument("--test", type=float, default=0.1, help="share of the patients (default 0.1)")


def _finish(options: argparse.Namespace, cases: list[Case]) -> None:
    write_cases(options.out, cases)
    print(describe(cases))


def _deeplesion(options: argparse.Namespace) -> None:
    rows = deeplesion.read_table(options.table)
    store = deeplesion.find_slices(options.images, {row.series for row in rows})
    cases, dropped = deeplesion.convert(rows, store)
    print(f"{len(rows)} rows; dropped: {', '.join(f'{count} {why}' for why, count in dropped.items())}")
    for source in ("lens", "harvester"):
        path = getattr(options, source)
        if path is not None:
            boxes = deeplesion_truth.read_boxes(path, source)
            cases, missing = deeplesion_truth.with_boxes(cases, boxes, source)
            print(f"{path}: {len(boxes)} sub-volumes, {missing} of them without a stored case")
    for path in options.lesanet:
        cases = deeplesion_truth.with_terms(cases, deeplesion_truth.read_terms(path))
    _finish(options, cases)


def _converted(work: Callable[[Any], Case], jobs: list[masks.Job], options: argparse.Namespace) -> list[Case]:
    """All or nothing: the first failure is raised."""
    names = [job.name for job in jobs]
    if len(set(names)) < len(names):
        raise CaseError(f"{options.out}: expected a unique id, found {max(names, key=names.count)} twice")
    outcomes = _run(work, {job.name: job for job in jobs}, "Converting", options)
    by_name = {outcome.name: outcome.result for outcome in outcomes}
    return [by_name[name] for name in names]


def _run(
    work: Callable[[Any], Any], jobs: dict[str, Any], what: str, options: argparse.Namespace
) -> list[Outcome]:
    failures = options.out.with_name(f"{options.out.name}.failed.jsonl")
    processes, ray = getattr(options, "processes", default_processes()), getattr(options, "ray", None)
    outcomes = run_jobs(work, jobs, what, processes, ray, failures)
    bad = [outcome for outcome in outcomes if outcome.error]
    if bad:
        raise CaseError(f"{bad[0].error} ({len(bad)} of {len(jobs)} failed: {failures})")
    return outcomes


def _uls23(options: argparse.Namespace) -> None:
    splits = {}
    if options.table is not None:
        rows = deeplesion.read_table(options.table)
        splits = {deeplesion.patient_name(row.patient): row.split for row in rows}
    jobs = masks.uls23_jobs(options.root, options.validation, options.test, splits)
    _finish(options, _converted(masks.convert_uls23, jobs, options))


def _masks(options: argparse.Namespace) -> None:
    lesions: dict[int, str | None] = {}
    for text in options.lesion:
        value, _, lesion_type = text.partition("=")
        if not value.isdigit() or (lesion_type and lesion_type not in LESION_TYPES):
            raise CaseError(
                f"--lesion: expected VALUE=TYPE with one of {', '.join(LESION_TYPES)}, found {text}"
            )
        lesions[int(value)] = lesion_type or None
    organs = {}
    for text in options.organ:
        value, _, organ = text.partition("=")
        if not value.isdigit() or not organ or int(value) in lesions:
            raise CaseError(f"--organ: expected VALUE=NAME with a value that is no lesion's, found {text}")
        organs[int(value)] = organ
    jobs = []
    for name, image, mask in masks.find_pairs(options.images, options.labels):
        patient = f"{options.source}-{name}"
        split = options.split or split_of(patient, options.validation, options.test)
        components = options.out.absolute().with_name(f"{options.out.stem}_lesions")
        paths = image.absolute(), mask.absolute(), components
        jobs.append(
            masks.Job(name, patient, options.source, split, *paths, lesions, organs, options.complete)
        )
    _finish(options, _converted(masks.convert_pair, jobs, options))


def _inhouse(options: argparse.Namespace) -> None:
    key = None if options.pseudonyms is None else read_or_make_key(options.pseudonyms)
    texts = options.out.absolute().with_name(f"{options.out.stem}_reports")
    for name in ("reports", "organs"):
        folder = getattr(options, name)
        if folder is not None and not folder.is_dir():
            raise CaseError(f"--{name}: expected a folder, found {folder}")
    settings = inhouse.Settings(
        options.source, options.reports, texts, key, options.validation, options.test, options.organs
    )
    cases = inhouse.convert(options.table, settings)
    if options.organs is not None:
        mapped = sum(case.completeness.organ_labels is not None for case in cases)
        print(f"{options.organs}: organ maps of {mapped} of {len(cases)} scans")
    _finish(options, cases)


def _reviews(options: argparse.Namespace) -> None:
    shares = options.validation, options.test
    _finish(options, reviewed.convert(options.reviews, read_cases(options.cases), shares))


def _check(options: argparse.Namespace) -> None:
    cases = read_cases(options.cases)
    if not options.no_files:
        options.out = options.cases
        _run(check_files, {case.id: case for case in cases}, "Checking", options)
    print(f"{options.cases}: {counted(len(cases), 'case')}, all well")


def _describe(options: argparse.Namespace) -> None:
    cases = read_cases(options.cases)
    print(describe(cases))
    if options.figure is not None:
        draw(cases, options.figure)


def _cache(options: argparse.Namespace) -> int:
    cases = read_cases(options.cases)
    return cache.fill(cases, options.out, options.spacing, options.stride, options.processes, options.ray)


if __name__ == "__main__":
    sys.exit(main())

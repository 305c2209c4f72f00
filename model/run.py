"""All scans of an input folder, one after the other: read, detect, write. For a folder also summary.csv."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import printable, reason_of
from model.files import OutputError, write_files
from model.inputs import Inputs, Scan, fingerprint
from model.outputs import (
    SUMMARY,
    VERSION,
    FileNames,
    details_json,
    likelihood_json,
    points_file,
    points_json,
)
from model.reading.child import Reading
from model.volume import InputError, Volume, read_volume, volume_of

if TYPE_CHECKING:
    from model.detector import Detector


@dataclass(frozen=True)
class Outcome:
    """A row of summary.csv. status: done, skipped (the results were there already) or failed.

    seconds is empty for a scan that was skipped; all numbers are for one that failed.
    """

    case_id: str
    status: str
    lesions: int | None = None
    lesions_above_operating_point: int | None = None
    likelihood: float | None = None
    seconds: float | None = None
    error: str = ""

    def line(self) -> str:
        """For people."""
        if self.status == "failed":
            return f"{self.case_id}: failed: {self.error}"
        what = "skipped, its results are there" if self.seconds is None else f"done in {self.seconds:.1f} s"
        above = f"{self.lesions_above_operating_point} above the operating point"
        return f"{self.case_id}: {what}: {self.lesions} points, {above}, likelihood {self.likelihood:.3f}"


def start_reading(inputs: Inputs) -> AbstractContextManager[Reading | None]:
    """A single scan, read by a child while the caller does other things; of a folder, nothing yet."""
    scan = inputs.scans[0]
    return Reading("scan", scan.path, scan.series) if inputs.single else nullcontext()


def run_all(
    detector: Detector,
    inputs: Inputs,
    output: Path,
    names: FileNames,
    resume: bool = True,
    ahead: Reading | None = None,
) -> str:
    """Results of a single scan straight in the output folder; else one sub-folder per scan, and summary.csv.

    Of a folder, the scans that fail are named and the others finished; with `resume`, those whose results
    are there are left alone. ahead: the single scan as it is being read. Returns the whole in a line. Raises
    InputError or OSError for a single scan, InputError at the end if some of a folder failed, OutputError
    for either.
    """
    outcomes: list[Outcome] = []
    for note in inputs.notes:
        print(_printable(note), flush=True)
    with _reporting(len(inputs.scans)) as report:
        for scan in inputs.scans:
            if inputs.single:
                outcome = run_scan(detector, scan, output, names, ahead)
            else:
                outcome = _run_one_of_many(detector, scan, output / scan.case_id, names, resume)
            outcomes.append(outcome)
            if not inputs.single:
                write_summary(output, outcomes)
            report(_printable(outcome.line()))
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        count = f"{len(failed)} of {len(outcomes)} scans failed, see {output / SUMMARY}"
        raise InputError(f"{count}; the first: {failed[0].case_id}: {failed[0].error}")
    return f"{len(outcomes)} scan{'s' if len(outcomes) > 1 else ''}, results in {_printable(str(output))}"


def run_scan(
    detector: Detector, scan: Scan, folder: Path, names: FileNames, ahead: Reading | None = None
) -> Outcome:
    """Reads, detects, writes. Raises InputError or OSError for the scan, OutputError for the results."""

    def read() -> Volume:
        return volume_of(ahead.result()) if ahead else read_volume(scan.path, scan.series)

    return run_case(detector, scan.case_id, read, fingerprint(scan), folder, names)


def run_case(
    detector: Detector,
    case_id: str,
    read: Callable[[], Volume],
    read_from: dict[str, Any],
    folder: Path,
    names: FileNames,
) -> Outcome:
    """What `read` reads, detected and written into a folder; read_from: what the details say it was.

    Raises what `read` raises, and OutputError.
    """
    start = time.perf_counter()
    volume = read()
    read_s = time.perf_counter() - start
    prediction = detector.predict(volume)
    details = details_json(prediction, detector, read_s, read_from)
    likelihood = likelihood_json(prediction.likelihood)
    files = {names.points: points_json(prediction), names.details: details, names.likelihood: likelihood}
    write_files(folder, {name: json.dumps(value, allow_nan=False) + "\n" for name, value in files.items()})
    above = sum(row["above_operating_point"] for row in details["points"])
    seconds = round(time.perf_counter() - start, 3)
    return Outcome(case_id, "done", len(prediction.lesions), above, likelihood, seconds)


def earlier_outcome(detector: Detector, scan: Scan, folder: Path, names: FileNames) -> Outcome | None:
    """If the three files are there and valid, from the same input, weights and software; else None."""
    try:
        points, details, likelihood = (
            json.loads((folder / name).read_bytes())
            for name in (names.points, names.details, names.likelihood)
        )
        rows = [(point["name"], point["point"], point["probability"]) for point in points["points"]]
        flags = [row["above_operating_point"] is True for row in details["points"]]
        keys = ("software_version", "weights_version", "weights_digest", "input")
        made_by = tuple(details[key] for key in keys)
        valid = points_file(rows) == points and likelihood_json(likelihood) == likelihood
    except (OSError, ValueError, KeyError, TypeError):
        return None
    expected = (VERSION, detector.weights_version, detector.weights_digest, fingerprint(scan))
    if not valid or len(flags) != len(rows) or made_by != expected:
        return None
    return Outcome(scan.case_id, "skipped", len(rows), sum(flags), float(likelihood))


def write_summary(folder: Path, outcomes: list[Outcome]) -> None:
    """summary.csv, one row per scan. Raises OutputError."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Outcome.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in asdict(outcome).items()} for outcome in outcomes)
    write_files(folder, {SUMMARY: text.getvalue()})


def _cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula, marked as text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def _run_one_of_many(detector: Detector, scan: Scan, folder: Path, names: FileNames, resume: bool) -> Outcome:
    try:
        earlier = earlier_outcome(detector, scan, folder, names) if resume else None
        return earlier or run_scan(detector, scan, folder, names)
    except OutputError:
        raise
    except Exception as error:  # noqa: BLE001 - the other scans are to be finished
        return Outcome(scan.case_id, "failed", error=reason_of(error))


@contextmanager
def _reporting(total: int) -> Iterator[Callable[[str], None]]:
    """Yields what to call with a line for each scan that is through: above a progress bar on a terminal."""
    if not sys.stdout.isatty():
        yield lambda line: print(line, flush=True)
        return
    from rich.progress import Progress, TimeElapsedColumn

    with Progress(*Progress.get_default_columns(), TimeElapsedColumn()) as bar:
        task = bar.add_task("scans", total=total)

        def report(line: str) -> None:
            bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            bar.advance(task)

        yield report


def _printable(text: str) -> str:
    """File names need not be valid text, and not all text can be printed everywhere."""
    encoding = sys.stdout.encoding or "utf-8"
    return printable(text).encode(encoding, "backslashreplace").decode(encoding)

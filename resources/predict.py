"""The detector over a list of cases, on this machine's cores or by Ray on many; the same command goes on.

python -m resources.predict --cases FILE --out DIR: one folder per case, named by its id, with the three
files that the container writes. What is there already, from the same case and weights, is left alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import sys
import time
from pathlib import Path

from model.config import WeightsError
from model.detector import Detector
from model.outputs import VERSION, FileNames
from model.run import run_case
from model.volume import InputError
from resources.cases.case import Case, CaseError, read_cases
from resources.cases.images import read_case_volume
from resources.cases.strict import encode
from resources.cases.work import add_worker_options, part_of, report, run_jobs
from resources.cli import end_with

WEIGHTS = Path(__file__).parents[1] / "model" / "weights"
NAMES = FileNames()


@dataclasses.dataclass(frozen=True)
class Job:
    """memory_gb: for the network's activations in each worker; None: the detector's default."""

    case: Case
    folder: Path
    weights: Path
    weights_digest: str
    device: str
    memory_gb: float | None

    @property
    def made_from(self) -> dict[str, str]:
        """What the results depend on, as written into the details."""
        case = json.dumps([self.case.id, encode(self.case.image)], sort_keys=True)
        return {"case": hashlib.sha256(case.encode()).hexdigest(), "weights": self.weights_digest}


@functools.cache
def _detector(weights: Path, device: str, memory_gb: float | None) -> Detector:
    """One model per worker."""
    return Detector.from_weights(weights, device, memory_gb)


def predict_case(job: Job) -> int:
    """Predicts one case and writes its files; the number of candidates."""
    detector = _detector(job.weights, job.device, job.memory_gb)
    read = functools.partial(read_case_volume, job.case)
    outcome = run_case(detector, job.case.id, read, dict(job.made_from), job.folder, NAMES)
    return outcome.lesions or 0


def is_done(job: Job) -> bool:
    """Whether all files are there, from the same case, weights and software."""
    try:
        details, _, _ = (
            json.loads((job.folder / name).read_bytes())
            for name in (NAMES.details, NAMES.points, NAMES.likelihood)
        )
        return bool(details["input"] == job.made_from and details["software_version"] == VERSION)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def digest_of(weights: Path) -> str:
    """Of all weights files of a folder. Raises WeightsError where there is none."""
    paths = sorted(weights.glob("*.safetensors"))
    if not paths:
        raise WeightsError(f"{weights}: expected at least one .safetensors file, found none")
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m resources.predict", description=__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="the case list")
    parser.add_argument("--out", type=Path, required=True, help="folder of the predictions")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of .safetensors files")
    parser.add_argument("--split", choices=("train", "validation", "test"), help="only these cases")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--memory-gb", type=float, help="for the network in each worker")
    parser.add_argument(
        "--part", default="1/1", help="I/N: only every N-th case from the I-th, for job arrays"
    )
    add_worker_options(parser, ray=True)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, 1 if some scans failed, 2 on an error, which is a line on stderr."""
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    try:
        weights, out = options.weights.absolute(), options.out.absolute()
        digest = digest_of(weights)
        cases = [case for case in read_cases(options.cases) if options.split in (None, case.split)]
        if not cases:
            of_split = f" of the split {options.split}" if options.split else ""
            raise CaseError(f"{options.cases}: expected cases{of_split}, found none")
        cases = part_of(cases, options.part)
        jobs = [Job(c, out / c.id, weights, digest, options.device, options.memory_gb) for c in cases]
        todo = {job.case.id: job for job in jobs if not is_done(job)}
        number = "" if options.part == "1/1" else f"-{options.part.replace('/', '-of-')}"
        failures = out / f"failed{number}.jsonl"
        outcomes = run_jobs(predict_case, todo, "Predicting", options.processes, options.ray, failures)
    except (CaseError, InputError, WeightsError, OSError) as error:
        return end_with(error)
    return report(outcomes, len(jobs) - len(todo), started, failures)


if __name__ == "__main__":
    # Ray's workers look functions up by module, and theirs has another __main__.
    from resources.predict import main as run

    sys.exit(run())

"""Trains the detector: `python -m resources.training FILE.toml [--resume]`, on several GPUs by torchrun.

    torchrun --nproc-per-node 4 -m resources.training FILE.toml

A run that was stopped, by whatever, goes on with --resume and loses a minute at most.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="settings of the run; see resources/configs")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint if there is one")
    options = parser.parse_args(arguments)
    # Here, because the processes that cut patches load this module too, and need none of it.
    from model.config import NotFiniteError, WeightsError
    from resources.cases.strict import CaseError
    from resources.cli import FAILED, end_with
    from resources.evaluation import EvaluationError
    from resources.interrupt import Interrupted
    from resources.training.config import read_config
    from resources.training.engine import Run

    try:
        run = Run(read_config(options.config), options.config.stem, options.resume)
        run.go()
    except Interrupted as stopped:
        command = f"{sys.executable} -m resources.training {options.config} --resume"
        print(f"{stopped} after step {run.step}; to go on: {command}", file=sys.stderr)
        return 128 + stopped.number
    except NotFiniteError as error:
        return end_with(error, FAILED)
    except (CaseError, EvaluationError, WeightsError, OSError) as error:
        return end_with(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())

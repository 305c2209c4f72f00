"""Find lesions in CT: a scan, a folder of scans, or a case as grand-challenge.org hands it over."""

import argparse
import contextlib
import functools
import math
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from model.config import find_weights
from model.errors import reason_of
from model.exports import KINDS, exporting
from model.files import check_writable
from model.inputs import find_inputs
from model.outputs import VERSION, FileNames, remove_results
from model.run import run_all, start_reading

if TYPE_CHECKING:
    from model.detector import Detector

JSON_NAME = re.compile(r"[^./\\][^/\\]*\.json")
WEIGHTS = (Path("/opt/ml/model"), Path(__file__).resolve().parent / "model" / "weights")


def checked(kind: Callable[[str], Any], valid: Callable[[Any], object], expected: str) -> Callable[..., Any]:
    """A type for argparse, which checks the `choices` of an option but not of its default."""

    def convert(text: str) -> Any:
        with contextlib.suppress(ValueError):
            if valid(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")

    return convert


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog="All but the last two have a variable.")

    def add(name: str, kind: Callable[[str], object], default: str | None, text: str) -> None:
        variable = "LESION_" + name.upper().replace("-", "_")
        value = os.environ.get(variable) or default
        parser.add_argument(f"--{name}", type=kind, default=value, help=f"{text} [{variable}; {default}]")

    json_name = checked(str, JSON_NAME.fullmatch, "a file name that ends in .json")
    device = checked(str, ("auto", "cpu", "cuda").__contains__, "auto, cpu or cuda")
    size = checked(float, lambda gb: 0 < gb < math.inf, "a positive number")
    port = checked(int, range(65536).__contains__, "0 (any that is free) to 65535")
    kinds = checked(lambda text: text.split(","), set(KINDS).issuperset, f"some of {','.join(KINDS)}")
    add("input", Path, "/input", "a scan, a folder of scans, or the platform's input folder")
    add("output", Path, "/output", "folder for the results")
    add("weights", Path, None, "folder with .safetensors files; by default /opt/ml/model, else model/weights")
    add("device", device, "auto", "auto, cpu or cuda")
    add("memory-gb", size, None, "memory for the network; larger scans go through it in tiles")
    add("points-name", json_name, FileNames.points, "file of the points")
    add("details-name", json_name, FileNames.details, "file of sizes, boxes, timings, warnings")
    add("likelihood-name", json_name, FileNames.likelihood, "file of the scan's likelihood")
    add("export", kinds, None, f"also write, of {','.join(KINDS)}, those named, commas between")
    add("port", port, "4743", "port of --serve")
    parser.add_argument("--serve", action="store_true", help="keep the model loaded, wait for POST /invoke")
    parser.add_argument("--version", action="version", version=VERSION)
    options = parser.parse_args(arguments)
    if len({options.points_name, options.details_name, options.likelihood_name}) < 3:
        parser.error("expected three different file names for points, details and likelihood")
    return options


def load_detector(options: argparse.Namespace) -> "Detector":
    from model.detector import Detector

    return Detector.from_weights(options.weights or find_weights(*WEIGHTS), options.device, options.memory_gb)


def detect(options: argparse.Namespace, detector: "Detector | None" = None) -> str:
    """All there is to do, and the outcome in a line; a server brings its detector. Raises InputError."""
    names = FileNames(options.points_name, options.details_name, options.likelihood_name)
    if detector:  # of a server: no results of the case before may be taken for those of one that fails
        remove_results(options.output, names)
    inputs = find_inputs(options.input)
    check_writable(options.output)
    ahead = start_reading(inputs)  # while torch and the weights are loaded
    with ahead as found, exporting(inputs, options.output, names, options.export or ()):
        return run_all(detector or load_detector(options), inputs, options.output, names, not detector, found)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code; whatever ended the run is said in the last line of stderr."""
    options = parse_arguments(arguments)
    try:
        if options.serve:
            from model.serve import serve

            serve(lambda: functools.partial(detect, options, load_detector(options)), options.port)
        else:
            print(detect(options))
    except SystemExit as end:
        print(f"error: ended by {signal.Signals(int(end.code or 0) - 128).name}", file=sys.stderr)
        return int(end.code or 0)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
        print(f"error: {reason_of(error)}", file=sys.stderr)
        return 1
    return 0


def end_with_clean_up(number: int, frame: FrameType | None) -> None:
    """A signal as an exception, so that half-written files are removed on its way up."""
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, end_with_clean_up)
    sys.exit(main())

"""Compare a folder of results with the expected ones: python test/regression.py EXPECTED FOUND

Every JSON file below EXPECTED has to be below FOUND under the same name, and no other JSON file.
Points match one to one within 1 mm, with the same name and a probability within 0.02; a number (the
likelihood) matches within 0.02. A point without a partner is a mismatch, unless the tolerance itself explains
it: candidates are reported from a probability of 0.01 up, so one below 0.03 may be missing on the other side.
The remaining files (the details hold timings) only have to be valid JSON. Prints each difference; exit code 1
if there is one.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

DISTANCE_MM = 1.0
PROBABILITY = 0.02
REPORTED_FROM = 0.01

Point = dict[str, Any]


def show(point: Point) -> str:
    """'liver at (1.0, 2.0, 3.0) mm, probability 0.500'."""
    place = ", ".join(f"{value:.1f}" for value in point["point"])
    return f"{point['name']} at ({place}) mm, probability {point['probability']:.3f}"


def compare_points(expected: list[Point], found: list[Point]) -> list[str]:
    """The differences between two lists of points (x, y, z in mm), in words; empty if they match."""
    differences = []
    left = list(found)
    for point in expected:
        nearest = min(left, key=lambda other: math.dist(point["point"], other["point"]), default=None)
        distance = math.inf if nearest is None else math.dist(point["point"], nearest["point"])
        if nearest is None or distance > DISTANCE_MM:
            if surely_reported(point):
                hint = "" if nearest is None else f"; the nearest, {distance:.1f} mm away, is {show(nearest)}"
                differences.append(f"missing: {show(point)}{hint}")
            continue
        left.remove(nearest)
        if point["name"] != nearest["name"] or not close(point["probability"], nearest["probability"]):
            differences.append(f"expected {show(point)}; found {show(nearest)}")
    differences += [
        f"not expected: {show(point)}"
        for point in left
        if point["probability"] >= REPORTED_FROM + PROBABILITY
    ]
    return differences


def surely_reported(point: Point) -> bool:
    """Whether the other side has to report the point, too: the tolerance keeps it above the limit."""
    return bool(point["probability"] >= REPORTED_FROM + PROBABILITY)


def close(expected: float, found: float) -> bool:
    """Whether two probabilities agree, rounding of the decimals aside."""
    return abs(expected - found) <= PROBABILITY + 1e-9


def compare_values(expected: Any, found: Any) -> list[str]:
    """The differences between the contents of two files, in words; empty if they match."""
    if isinstance(expected, dict) and expected.get("type") == "Multiple points":
        head = {key: value for key, value in expected.items() if key != "points"}
        if not isinstance(found, dict) or {k: v for k, v in found.items() if k != "points"} != head:
            return [f"expected {head} and points, found {json.dumps(found)[:200]}"]
        return compare_points(expected["points"], found["points"])
    if isinstance(expected, float | int):
        if not isinstance(found, float | int) or not close(expected, found):
            return [f"expected {expected}, found {found}"]
    elif type(expected) is not type(found):
        return [f"expected a {type(expected).__name__}, found a {type(found).__name__}"]
    return []


def read_json(file: Path) -> Any:
    """The content of a JSON file. Raises ValueError for NaN and infinity, which JSON does not have."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{file}: expected JSON, found {constant}")

    return json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)


def compare_folders(expected: Path, found: Path) -> list[str]:
    """The differences between the JSON files of two folders, each after its name; empty if they match."""
    files = {file.relative_to(expected) for file in expected.rglob("*.json")}
    others = {file.relative_to(found) for file in found.rglob("*.json")}
    if not files:
        return [f"{expected}: expected JSON files, found none"]
    differences = [f"{name}: missing in {found}" for name in sorted(files - others)]
    differences += [f"{name}: not expected in {found}" for name in sorted(others - files)]
    for name in sorted(files & others):
        try:
            values = read_json(expected / name), read_json(found / name)
        except ValueError as error:
            differences.append(f"{name}: {error}")
            continue
        differences += [f"{name}: {line}" for line in compare_values(*values)]
    return differences


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print("usage: regression.py EXPECTED FOUND", file=sys.stderr)
        return 2
    expected, found = map(Path, arguments)
    differences = compare_folders(expected, found)
    for line in differences:
        print(line, file=sys.stderr)
    if differences:
        print(f"regression: {len(differences)} differences between {expected} and {found}", file=sys.stderr)
        return 1
    print(f"regression: {found} is as expected (within {DISTANCE_MM:g} mm and {PROBABILITY:g})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

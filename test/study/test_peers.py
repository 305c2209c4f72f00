"""Peers: what is a detection and a box, by hand; both trained, stopped and measured on phantoms."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from small_cases import make_case
from torch.utils.tensorboard import SummaryWriter

from model.files import write_files
from model.geometry import Geometry
from model.outputs import points_file
from resources.cases.cache import LESIONS, fill, open_scan
from resources.cases.case import Annotation, CaseError, Completeness, read_cases, write_cases
from resources.cases.geometry import shape_of_annotation
from resources.interrupt import Interrupted
from resources.predict import NAMES
from resources.study.arms import held
from resources.study.detector_tables import DETECTORS, peer_lines
from resources.study.peer_networks import Peer, RetinaNetPeer, UNetPeer, boxes_of, components, middles_of
from resources.study.peer_training import (
    PER_LESION,
    Budget,
    Patches,
    Scan,
    indices_of,
    paint,
    scan_of,
    train,
    window_of,
)
from resources.study.peers import check, compare, main, measured, minutes_of, rows_of
from resources.study.setting import FOLDER, Setting, read_setting
from resources.training.checkpoint import read_checkpoint

SHAPE = (16, 16, 32)


def small() -> Setting:
    """Setting `few` with small patches, two at a time."""
    setting = read_setting(FOLDER / "few.toml")
    common = setting.common.replace("[48, 64, 64]", str(list(SHAPE)))
    optimisation = setting.optimisation.replace("batch = 4", "batch = 2")
    optimisation = optimisation.replace("bf16-mixed", "32-true")  # two slices at a level: see check_depth
    return dataclasses.replace(setting, common=common, optimisation=optimisation)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `run few --to base` has made before the base is trained, of two scans and one to test."""
    work, network = tmp_path_factory.mktemp("work"), small().network.detector
    for name, seeds in (("few", (0, 1)), ("test", (2,))):
        (work / name).mkdir()
        cases = [make_case(work / name, f"{name}{seed}", "full", seed) for seed in seeds]
        (work / "cases").mkdir(exist_ok=True)
        write_cases(work / "cases" / f"{name}.jsonl", cases)
    (work / "marks").mkdir()
    case = make_case(work / "marks", "marks3", "mark", 3)
    (x, y, z) = case.annotations[0].point or (0, 0, 0)
    mark = Annotation("recist", long=((x - 2, y, z), (x + 2, y, z)))
    write_cases(work / "cases" / "marks.jsonl", [dataclasses.replace(case, annotations=(mark,))])
    for name in ("few", "marks"):
        cases = read_cases(work / "cases" / f"{name}.jsonl")
        fill(cases, work / "cache" / name, network.spacing_mm, network.stride, 1, None)
    return work


def test_a_component_is_a_detection() -> None:
    """On voxels of 1 x 2 x 4 mm (x, y, z); x and z run backwards from (100, 10, 50)."""
    probability = np.zeros((4, 5, 6))
    probability[1, 1, 1], probability[2, 2, 2] = 0.6, 0.2  # one: they touch by a corner
    probability[3, 4, 3:6] = (0.1, 0.9, 0.1)
    probability[0, 4, 0] = 0.09  # too low
    place = Geometry((6, 5, 4), (1.0, 2.0, 4.0), (100.0, 10.0, 50.0), np.diag([-1.0, 1.0, -1.0]))
    points, found = components(probability, place)
    assert found.tolist() == [0.6, 0.9]
    assert points.tolist() == [[98.5, 13.0, 44.0], [96.0, 18.0, 38.0]]
    points, found = components(np.zeros((4, 5, 6)), place)
    assert (points.shape, found.shape) == ((0, 3), (0,))


def test_the_surest_hundred_within_the_scan_are_kept() -> None:
    """A scan of 120 voxels of 1 mm; the two points beyond its ends are the surest."""
    points = np.zeros((122, 3))
    points[:, 0] = np.arange(-1, 121)
    probability = np.linspace(0.9, 0.1, 122)
    probability[-1] = 1.0
    place = Geometry((120, 1, 1), (1.0,) * 3, (0.0,) * 3, np.eye(3))
    rows = rows_of(points, probability, place)
    assert [row[1] for row in rows] == [[float(x), 0.0, 0.0] for x in range(100)]
    assert rows[0] == ("lesion", [0.0, 0.0, 0.0], probability[1])


def test_boxes_of_lesions() -> None:
    numbers = np.zeros((4, 5, 6), np.int16)
    numbers[1, 2, 3] = 2
    numbers[0:3, 4, 1] = numbers[2, 4, 1:5] = 5
    boxes = boxes_of(numbers)
    assert boxes.tolist() == [[1, 2, 3, 2, 3, 4], [0, 4, 1, 3, 5, 5]]
    assert middles_of(boxes).tolist() == [[1, 2, 3], [1, 4, 2.5]]
    assert boxes_of(np.zeros((4, 5, 6), np.int16)).shape == (0, 6)


def test_every_lesion_has_as_many_places() -> None:
    numbers = np.zeros((10, 20, 20), np.int16)
    numbers[0, 0, 0], numbers[5:9, 5:15, 5:15] = 1, 2
    hu = np.full(numbers.shape, -1000, np.int16)
    hu[:, 1:] = 0
    lesions, rest = indices_of(Scan(hu, numbers, ""))
    assert np.bincount(numbers.ravel()[lesions]).tolist() == [0, PER_LESION, PER_LESION]
    assert set(numbers.ravel()[rest]) == {0}
    assert set(hu.ravel()[rest]) == {0}


def test_what_is_no_lesion_is_background(made: Path) -> None:
    (case, _), path = read_cases(made / "cases" / "few.jsonl"), made / "cache" / "few" / "few0.b2nd"
    scan = scan_of(case, path, (40, 16, 32))
    cached = np.asarray(open_scan(path).array[LESIONS])
    assert scan.numbers.shape == scan.hu.shape == (40, *cached.shape[1:])  # in air
    assert set(scan.hu[cached.shape[0] :].ravel()) == {-1024}
    assert (scan.numbers > 0).sum() == (cached > 0).sum() > 0
    benign = tuple(dataclasses.replace(a, status="benign") for a in case.annotations)
    assert not scan_of(dataclasses.replace(case, annotations=benign), path, SHAPE).numbers.any()
    partly = dataclasses.replace(case.completeness, kind="none")
    with pytest.raises(
        CaseError, match="case few0: expected masks of all lesions or RECIST marks, found none of"
    ):
        scan_of(dataclasses.replace(case, completeness=partly), path, SHAPE)


def test_a_mark_is_the_body_that_it_stands_for() -> None:
    """Axes of 12 and 8 mm: by the laws a median lesion has exp(-.506 + 1.745 log 12 + 1.059 log 8) = 417 mm3,
    and is .97 times the root of 96, 9.5 mm high.
    """
    place = Geometry((30, 30, 30), (1.0, 1.0, 1.0), (100.0, 200.0, 50.0), np.eye(3))
    ends = ((109.0, 210.0, 60.0), (121.0, 210.0, 60.0)), ((115.0, 206.0, 60.0), (115.0, 214.0, 60.0))
    mark = Annotation("recist", "liver", "mm", long=ends[0], short=ends[1])
    numbers = np.zeros((30, 30, 30), np.int16)
    paint(numbers, place, shape_of_annotation(mark, place), 3)
    assert (numbers == 3).sum() == pytest.approx(417, rel=0.05)
    assert [(int(i.min()), int(i.max())) for i in np.nonzero(numbers)] == [(6, 14), (7, 13), (10, 20)]
    tiny = dataclasses.replace(mark, long=((120.1, 210.4, 60.4), (120.3, 210.4, 60.4)), short=None)
    paint(numbers, place, shape_of_annotation(tiny, place), 4)
    assert np.argwhere(numbers == 4).tolist() == [[10, 10, 20]]


def test_what_is_not_marked_is_background(made: Path) -> None:
    """Of a scan with one mark of two lesions, say; nothing is known of the rest."""
    (case, _), path = read_cases(made / "cases" / "few.jsonl"), made / "cache" / "few" / "few0.b2nd"
    x, y, z = open_scan(path).grid.voxel_to_world((4, 8, 8))[0].tolist()
    mark = Annotation("recist", "liver", "mm", long=((x - 6, y, z), (x + 6, y, z)))
    marked = dataclasses.replace(case, annotations=(mark, mark), completeness=Completeness())
    scan = scan_of(marked, path, SHAPE)
    assert scan.numbers[4, 8, 8] == 2
    both = (mark, *case.annotations)
    with pytest.raises(CaseError, match="found none of kinds mask, recist"):
        scan_of(dataclasses.replace(marked, annotations=both), path, SHAPE)


@pytest.mark.parametrize("kind", ["unet", "retinanet"])
def test_a_peer_is_trained_predicts_and_is_measured(made: Path, kind: str) -> None:
    found = measured(small(), made, kind, Budget(steps=2))[kind]
    assert (found["steps"], found["scans"], found["lesions"]) == (2, 1, 1)
    assert min(found["minutes"], found["seconds_a_scan"]) > 0
    assert 0 <= found["measures"]["all: mean"][0] <= 1
    folder = made / "predictions" / "test" / f"peer-{kind}" / "test2"
    points = json.loads((folder / "lesion-points.json").read_bytes())["points"]
    assert 0 < len(points) <= 100
    lower, upper = np.array([10, 20, -30]) - 10, np.array([10, 20, -30]) + 2 * np.array([48, 40, 24]) + 10
    assert all((lower < point["point"]).all() and (point["point"] < upper).all() for point in points)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert measured(small(), made, kind, Budget(steps=2))[kind] == found  # all is there
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    naive = measured(small(), made, kind, Budget(steps=2), naive=True)[f"{kind} naive"]
    assert naive["steps"] == 2
    trained, on_more = (
        read_checkpoint(made / "runs" / f"peer-{run}" / "checkpoint.safetensors")[1]["origin"]["scans"]
        for run in (kind, f"{kind}-naive")
    )
    assert (len(trained), len(on_more)) == (2, 3)
    with pytest.raises(CaseError, match=r"steps: expected 2 as in .*checkpoint.safetensors, found 3"):
        measured(small(), made, kind, Budget(steps=3))


@pytest.mark.parametrize("make", [UNetPeer, RetinaNetPeer])
def test_a_run_that_was_stopped_ends_where_it_would_have_ended(tmp_path: Path, make: type[Peer]) -> None:
    random = np.random.default_rng(0)
    numbers = np.zeros((16, 32, 32), np.int16)
    numbers[6:9, 10:14, 10:14] = 1
    scans = [Scan(random.integers(-100, 100, numbers.shape).astype(np.int16), numbers, "a")]
    patches, ends = Patches(scans, SHAPE, 1, window_of(scans)), []
    for name, stops in (("alone", ()), ("stopped", ("signal", "kill"))):
        left = list(stops)

        def draw(step: int, left: list[str] = left) -> tuple[torch.Tensor, torch.Tensor]:
            if step == 1 and "signal" in left:
                left.remove("signal")
                os.kill(os.getpid(), signal.SIGTERM)
            if step == 3 and "kill" in left:
                left.remove("kill")
                raise MemoryError
            return patches.draw(step)

        for expected in (*(Interrupted if stop == "signal" else MemoryError for stop in stops), None):
            torch.manual_seed(0)
            peer, file = make(SHAPE, False), tmp_path / f"{name}.safetensors"
            if expected is None:
                assert train(peer, draw, file, {"peer": "a"}, Budget(steps=4)).steps == 4
            else:
                with pytest.raises(expected):
                    train(peer, draw, file, {"peer": "a"}, Budget(steps=4))
        ends.append(read_checkpoint(tmp_path / f"{name}.safetensors")[0])
    alone, stopped = ends
    assert alone.keys() == stopped.keys()
    assert all(torch.equal(value, stopped[name]) for name, value in alone.items())


def test_missing_data_is_said_in_a_line(
    tmp_path: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["few", "--peer", "unet", "--out", str(tmp_path), "--work"]
    assert main([*arguments, str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}/cases/few.jsonl: expected a case list, found none; made by: ")
    assert line.endswith(f"python -m resources.study run few --work {tmp_path} --to base")
    (tmp_path / "cases").symlink_to(made / "cases")  # the lists without the cache
    assert main([*arguments, str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}/cache/few/few0.b2nd: expected the cached scan of {tmp_path}")
    assert main([*arguments, str(made), "--steps", "0"]) == 2
    assert capsys.readouterr().err == "error: --steps: expected more than 0, found 0\n"
    with pytest.raises(CaseError, match="types: expected a setting whose base is trained on all masks"):
        check(read_setting(FOLDER / "types.toml"), "types", tmp_path, False)


def test_minutes_of_the_base(tmp_path: Path) -> None:
    """4,000 steps of 4 patches at 8 patches a second."""
    setting = read_setting(FOLDER / "few.toml")
    assert minutes_of(setting, tmp_path / "board") is None
    with SummaryWriter(str(tmp_path / "board")) as writer:
        for step in (0, 10):
            writer.add_scalar("patches per s", 8.0, step)
    assert minutes_of(setting, tmp_path / "board") == pytest.approx(4000 * 4 / 8 / 60)


def test_the_table_of_peers() -> None:
    measures = {
        f"all: {what}": [0.5, 0.25, 0.75] for what in ("sensitivity at 1", "sensitivity at 4", "mean")
    }
    one = {
        "minutes": 40.0,
        "steps": 1234,
        "parameters": 4805534,
        "seconds_a_scan": 1.27,
        "commit": "a" * 40 + "+",
    }
    one |= {"scans": 60, "lesions": 100, "measures": measures}
    lines = peer_lines({"unet": one | {"difference": measures}, "base": one | {"minutes": None}})
    assert lines[0].startswith("| 60 test scans, 100 lesions | parameters | steps | minutes of training |")
    found = "| .500 (.250 to .750) "
    assert lines[2:] == [
        f"| {DETECTORS['base']} | 4,805,534 | 1,234 | ? | 1.3 {found * 3}|  | aaaaaaa+ |",
        f"| {DETECTORS['unet']} | 4,805,534 | 1,234 | 40 | 1.3 {found * 4}| aaaaaaa+ |",
    ]


def test_peers_are_compared_with_the_base(made: Path) -> None:
    """One finds the lesion and nothing else, the other only a false positive."""
    (case,) = read_cases(made / "cases" / "test.jsonl")
    (truth,) = held(made, "test").truths
    middle = truth.frame.to_world(truth.lesions[0].centre_mm)[0]
    for run, point in (("good", middle), ("bad", middle + [20.0, 0, 0])):
        text = json.dumps(points_file([("lesion", point.tolist(), 0.5)]))
        write_files(made / "predictions" / "test" / run / case.id, {NAMES.points: text})
    found = compare(small(), made, {"base": "good", "unet": "bad"})
    assert found["base"]["measures"]["all: mean"][0] == 1.0
    assert found["unet"]["measures"]["all: mean"][0] == 0.0
    assert found["unet"]["difference"]["all: mean"][0] == -1.0
    assert "difference" not in found["base"]

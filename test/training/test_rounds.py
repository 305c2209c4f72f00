"""Rounds on scans in a real cache: the same bytes however they are shared out, killed and gone on."""

import dataclasses
import itertools
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import SMALL, files_below, image_of, loud, phantom
from model.geometry import along_world
from resources.cases.cache import CachedScan, Job, build
from resources.cases.case import Annotation, Case, CaseError, Completeness, Finding, ImageSource, write_cases
from resources.training.config import (
    Network,
    Optimisation,
    Patches,
    Source,
    Supervision,
    Teacher,
    TrainingConfig,
)
from resources.training.data.stream import Scans, open_scans
from resources.training.reports.pseudo_labels import Proposal, PseudoLesion, read_pseudo_labels
from resources.training.reports.rounds import (
    HARD_PER_SCAN,
    MISSED_BELOW,
    hard_negatives,
    missed_lesions,
    renew,
)

ALL = Completeness("all")
CLEAR = (Finding(None, None, count=None, presence="absent"),)


def alone() -> None:
    """One process need not wait."""


def write_scans(folder: Path) -> None:
    """Four scans: all annotated, a clear report, a tumour in the report, and nothing known."""
    known = {
        "full": Case("full", "p1", "s", "train", ImageSource("full.mha"), completeness=ALL),
        "clear": Case("clear", "p2", "s", "train", ImageSource("clear.mha"), findings=CLEAR),
        "deep/told": Case(
            "deep/told", "p3", "s", "train", ImageSource("told.mha"), findings=(Finding("liver", "liver"),)
        ),
        "bare": Case("bare", "p4", "s", None, ImageSource("bare.mha")),
    }
    cases = []
    for seed, case in enumerate(known.values()):
        path = folder / case.image.path
        sitk.WriteImage(image_of(phantom((40, 40, 48), seed), (2.0, 2.0, 2.0)), str(path))
        cases.append(dataclasses.replace(case, image=ImageSource(str(path))))
        build(Job(cases[-1], folder / "cache", SMALL.spacing_mm, SMALL.stride))
    write_cases(folder / "cases.jsonl", cases)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_scans(folder)
    return folder


def config_of(data: Path, work: Path, **changes: object) -> TrainingConfig:
    plain = TrainingConfig(
        work=str(work),
        sources=(Source("s", str(data / "cases.jsonl"), str(data / "cache")),),
        optimisation=Optimisation(steps=1),
        network=Network(widths=SMALL.widths, blocks=SMALL.blocks),
        supervision=Supervision(teacher=1, report_positive=1),
        teacher=Teacher(views=1, positive_above=0.6, doubtful_above=0.15, empty_below=0.05, pictures=1),
        patches=Patches(shape=(16, 16, 16)),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def opened(config: TrainingConfig) -> Scans:
    return open_scans(config)


def run(config: TrainingConfig, number: int = 0) -> Path:
    """One process's round; its folder."""
    renew(loud(160), opened(config), config, number, 0, 1, alone)
    return Path(config.work) / "pseudo_labels" / f"{number:04d}"


def test_a_round_writes_the_pseudo_labels_of_every_scan(data: Path, tmp_path: Path) -> None:
    folder = run(config_of(data, tmp_path))
    assert sorted(path.name for path in folder.parent.iterdir()) == ["0000"]
    names = {"full", "clear", "deep/told", "bare"}
    expected = {f"{name}.{kind}" for name in names for kind in ("json", "npz")} | {"hard.json", "audit.jsonl"}
    assert set(files_below(folder)) in (expected, expected | {"audit.png"})
    full, told, bare = (read_pseudo_labels(folder, name) for name in ("full", "deep/told", "bare"))
    assert (full.proposals, full.lesions, full.empty.any()) == ((), (), False)
    assert bare.empty.shape == (24, 24, 28)
    assert 0.5 < bare.empty.mean() < 0.99
    assert len(bare.proposals) > 10
    assert {p.rounds for p in bare.proposals} == {1}
    assert {x.verdict for x in bare.lesions} == {"doubtful"}  # no proposal has persisted yet
    assert len(told.lesions) > 5
    hard = json.loads((folder / "hard.json").read_text(encoding="utf-8"))
    assert [place["case"] for place in hard] == ["full"] * 5 + ["clear"] * 5
    assert all(0.15 <= place["probability"] <= 1 for place in hard)
    for _, places in itertools.groupby(hard, key=lambda place: place["case"]):
        probabilities = [place["probability"] for place in places]
        assert probabilities == sorted(probabilities, reverse=True)


def test_what_persists_becomes_positive_and_is_logged(data: Path, tmp_path: Path) -> None:
    config = config_of(data, tmp_path)
    run(config, 0)
    folder = run(config, 1)
    bare = read_pseudo_labels(folder, "bare")
    assert {p.rounds for p in bare.proposals} == {2}
    sure = [x for x in bare.lesions if x.verdict == "positive"]
    assert len(sure) == sum(p.probability >= 0.6 for p in bare.proposals) > 0
    lines = [json.loads(line) for line in (folder / "audit.jsonl").read_text(encoding="utf-8").splitlines()]
    logged = [line["place_mm"] for line in lines if line["case"] == "bare"]
    assert logged == [list(x.center_mm) for x in sure]
    assert (folder / "audit.png").stat().st_size > 10_000
    # After a round that is missing all start over.
    assert {p.rounds for p in read_pseudo_labels(run(config, 3), "bare").proposals} == {1}


def test_two_processes_write_the_bytes_of_one(data: Path, tmp_path: Path) -> None:
    one, two = config_of(data, tmp_path / "one"), config_of(data, tmp_path / "two")
    run(one)
    scans, network, barrier = opened(two), loud(160), threading.Barrier(2, timeout=60)

    def part(rank: int) -> None:
        renew(network, scans, two, 0, rank, 2, lambda: (barrier.wait(), None)[1])

    ranks = [threading.Thread(target=part, args=(rank,)) for rank in range(2)]
    for thread in ranks:
        thread.start()
    for thread in ranks:
        thread.join()
    assert files_below(tmp_path / "one") == files_below(tmp_path / "two")


def test_a_round_that_was_killed_goes_on_where_it_was(data: Path, tmp_path: Path) -> None:
    write_scans(tmp_path)
    own = config_of(tmp_path, tmp_path / "work")
    scans = opened(own)
    broken = tmp_path / "cache" / "deep" / "told.b2nd"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    with pytest.raises(CaseError, match="case deep/told"):
        renew(loud(160), scans, own, 0, 0, 1, alone)
    part = tmp_path / "work" / "pseudo_labels" / ".0000.part"
    assert not part.with_name("0000").exists()
    before = {name: os.stat(part / f"{name}.json").st_mtime_ns for name in ("full", "clear")}
    (part / "deep").mkdir()
    (part / "deep" / ".told.json.99.part").write_text("half", encoding="utf-8")
    broken.write_bytes(whole)
    folder = run(own)
    assert {name: os.stat(folder / f"{name}.json").st_mtime_ns for name in before} == before
    run(config_of(data, tmp_path / "other"))
    assert files_below(folder) == files_below(tmp_path / "other" / "pseudo_labels" / "0000")
    assert not part.exists()
    done = files_below(tmp_path / "work")
    run(own)  # there already
    assert files_below(tmp_path / "work") == done


def test_only_scans_that_gain_are_looked_at(data: Path, tmp_path: Path) -> None:
    """Without hard negatives nothing is run on what is all annotated; for them alone nothing is labelled."""
    plain = config_of(data, tmp_path / "plain", patches=Patches(shape=(16, 16, 16), hard=0.0))
    folder = run(plain)
    assert (folder / "hard.json").read_text(encoding="utf-8") == "[]"
    assert read_pseudo_labels(folder, "bare").proposals
    folder = run(config_of(data, tmp_path / "hard", supervision=Supervision()))
    assert len(json.loads((folder / "hard.json").read_text(encoding="utf-8"))) == 10
    for name in ("full", "clear", "deep/told", "bare"):
        assert read_pseudo_labels(folder, name).proposals == ()
        assert not read_pseudo_labels(folder, name).empty.any()


def test_a_case_may_not_be_called_like_the_file_of_hard_negatives(data: Path, tmp_path: Path) -> None:
    config = config_of(data, tmp_path)
    scans = opened(config)
    source, case = scans.cases[0]
    renamed = dataclasses.replace(scans, cases=[(source, dataclasses.replace(case, id="hard"))])
    with pytest.raises(CaseError, match=r"expected any but that of the file hard\.json"):
        renew(loud(160), renamed, config, 0, 0, 1, alone)


def scan_of(shape: tuple[int, int, int] = (40, 40, 80)) -> CachedScan:
    place = along_world((0, 0, 0), shape, 2.0)
    return CachedScan(np.zeros((3, *shape), np.int16), (0, 0, 0), 2.0, place, {}, "")


def proposal(x_mm: float, probability: float = 0.5) -> Proposal:
    return Proposal((x_mm, 40.0, 40.0), (8.0, 8.0, 8.0), (probability, 0.1))


def case_of(completeness: Completeness, *marks: Annotation) -> Case:
    return Case("a", "p", "s", "train", ImageSource("a.mha"), marks, completeness)


def test_hard_negatives_are_the_surest_where_there_is_no_lesion() -> None:
    """A lesion of 20 mm at x 40: what is nearer than 10 mm has found it."""
    mark = Annotation("point", "liver", frame="mm", point=(40.0, 40.0, 40.0), long_mm=20.0)
    proposals = [proposal(x, 0.9 - x / 1000) for x in (4, 40, 49, 90, 100, 110, 120, 130, 140)]
    scan = scan_of()
    found = hard_negatives(case_of(ALL, mark), scan, proposals, ())
    assert [place.voxel for place in found] == [(20, 20, x) for x in (2, 45, 50, 55, 60)]
    assert [place.probability for place in found] == [proposals[i].probability for i in (0, 3, 4, 5, 6)]
    assert len(found) == HARD_PER_SCAN
    assert hard_negatives(case_of(Completeness()), scan, proposals, ()) == []
    assert hard_negatives(case_of(ALL), scan, [], ()) == []
    doubtful = PseudoLesion((4.0, 40.0, 41.0), (None, None, None), None, "doubtful", 0.5, "teacher", 0.5, 1)
    spared = hard_negatives(case_of(ALL), scan, proposals[:2], [doubtful])
    assert [place.voxel for place in spared] == [(20, 20, 20)]


def test_lesions_that_no_probable_proposal_is_on_are_hard_too() -> None:
    """A lesion of 20 mm at x 40: what is nearer than 10 mm is on it."""
    mark = Annotation("point", "liver", frame="mm", point=(40.0, 40.0, 40.0), long_mm=20.0)
    for proposals, probability in (
        ([], 0.0),
        ([proposal(49, MISSED_BELOW - 0.01)], MISSED_BELOW - 0.01),
        ([proposal(51, 0.9)], 0.0),
    ):
        (place,) = missed_lesions(case_of(ALL, mark), scan_of(), proposals)
        assert (place.voxel, place.probability) == ((20, 20, 20), probability)
    assert (
        missed_lesions(case_of(ALL, mark), scan_of(), [proposal(44, 0.1), proposal(49, MISSED_BELOW)]) == []
    )
    for status in ("benign", "doubtful"):
        other = dataclasses.replace(mark, status=status)
        assert missed_lesions(case_of(ALL, other), scan_of(), []) == []
    outside = dataclasses.replace(mark, point=(400.0, 40.0, 40.0))
    assert missed_lesions(case_of(ALL, outside), scan_of(), []) == []


def test_a_benign_mark_is_a_hard_negative_and_a_doubtful_one_is_none() -> None:
    for status, count in (("benign", 1), ("doubtful", 0), ("lesion", 0)):
        mark = Annotation("point", "liver", frame="mm", point=(40.0, 40.0, 40.0), status=status)  # type: ignore[arg-type]
        assert len(hard_negatives(case_of(Completeness(), mark), scan_of(), [proposal(40)], ())) == count

"""The settings of a training run."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import ROOT
from resources.cases.case import CaseError
from resources.training.config import Network, TrainingConfig, read_config

SOURCE = '[[sources]]\nname = "a"\ncases = "a.jsonl"\ncache = "cache"\n'
RUN = 'work = "run"\n'
CONFIGS = sorted((ROOT / "resources" / "configs").glob("*.toml"))
STEPS = "[optimisation]\nsteps = 3\n"


def read(tmp_path: Path, text: str) -> TrainingConfig:
    file = tmp_path / "run.toml"
    file.write_text(text, encoding="utf-8")
    return read_config(file)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = read(tmp_path, RUN + SOURCE + STEPS + "[network]\nwidths = [8, 16]\nblocks = [1, 1]\n")
    assert config.work == str(tmp_path / "run")
    assert (config.sources[0].cases, config.sources[0].cache) == (
        str(tmp_path / "a.jsonl"),
        str(tmp_path / "cache"),
    )
    assert config.network.detector.widths == (8, 16)
    assert config.start is None
    assert config.validation is None
    assert Network().detector.stride == 8


def test_a_source_may_weigh_its_supervision_by_itself(tmp_path: Path) -> None:
    other = SOURCE.replace('"a"', '"b"') + "supervision = {unmarked = 0.2, organs = 0.0}\n"
    text = (
        RUN + SOURCE + other + STEPS + "[network]\norgans = true\n[supervision]\norgans = 0.5\nweak = 0.7\n"
    )
    config = read(tmp_path, text)
    first, second = (config.of(source).supervision for source in config.sources)
    assert (first.unmarked, first.organs, first.weak) == (0.0, 0.5, 0.7)
    assert (second.unmarked, second.organs, second.weak) == (0.2, 0.0, 0.7)
    assert (config.strongest.unmarked, config.strongest.organs) == (0.2, 0.5)
    assert config.network.detector.organs[:2] == ("background", "lung")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            RUN + SOURCE + "supervision = {geometry = 1.0}\n" + STEPS,
            "supervision: expected one of full, weak",
        ),
        (RUN + SOURCE + STEPS + "[supervision]\norgans = 1\n", "organs: expected 0 without network.organs"),
        (RUN + SOURCE + STEPS + "[supervision]\nful = 1\n", "supervision.ful: expected only full, weak"),
        (RUN + SOURCE, "optimisation: expected a value, found none"),
        (RUN + "sources = []\n" + STEPS, "sources: expected at least one with a share above 0, found 0"),
        (RUN + SOURCE + SOURCE + STEPS, "sources: expected names that differ"),
        (RUN + SOURCE + STEPS + "batch = 0\n", "optimisation.batch: expected at least 1, found 0"),
        (
            RUN + SOURCE + STEPS + "checkpoint_every_s = 61\n",
            "checkpoint_every_s: expected at most 60, found 61",
        ),
        (
            RUN + SOURCE + STEPS + "[supervision]\nweak = -1\n",
            "supervision.weak: expected at least 0, found -1",
        ),
        (
            RUN + SOURCE + STEPS + "[patches]\nshape = [30, 64, 64]\n",
            "patches.shape: expected multiples of 8",
        ),
        (RUN + SOURCE + STEPS + "[teacher]\npositive_above = 0.1\n", "expected 0 < empty_below <= doubtful"),
        (RUN + SOURCE + STEPS + "[network]\nwidths = [8]\n", "one entry of blocks per width"),
        ("work = \n", "expected a TOML file"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CaseError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert str(tmp_path / "run.toml") in str(caught.value)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "resources" / "configs").glob("*.toml")), ids=lambda f: f.stem
)
def test_the_configurations_that_ship(file: Path) -> None:
    config = read_config(file)
    assert config.work == str(ROOT / "build" / "runs" / file.stem)
    assert all(source.cases.startswith(str(ROOT / "build" / "cases")) for source in config.sources)
    assert config.validation is not None

"""The figures and the settings of the trial of supervisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resources.evaluation.outcomes import Table
from resources.study.trial import ARMS, NETWORKS, SPACING_MM, difference, measure_of, settings
from resources.training.config import read_config


def table(lesion_scores: list[float], false_scores: list[float]) -> Table:
    """Two scans; the lesions are all in the first, the false positives all in the second."""
    lesions, false = len(lesion_scores), len(false_scores)
    return Table(
        cases=2,
        judged=np.array([True, True]),
        lesion_case=np.zeros(lesions, int),
        lesion_number=np.arange(lesions),
        lesion_prediction=np.arange(lesions),
        lesion_score=np.array(lesion_scores),
        lesion_complete=np.ones(lesions, bool),
        false_case=np.ones(false, int),
        false_prediction=np.arange(false),
        false_score=np.array(false_scores),
        false_duplicate=np.zeros(false, bool),
        fates={},
    )


def test_seeds_are_averaged_and_arms_subtracted() -> None:
    all_found = table([0.9, 0.8], [0.1])
    half_found = table([0.9, -np.inf], [0.1])
    later = table([0.9, 0.2], [0.8, 0.7, 0.6])  # the second after three false positives: 1.5 a scan
    once = np.ones((1, 2), int)
    found = measure_of([all_found, half_found])(once)
    assert found["0.5"].tolist() == [0.75]
    assert found["CPM"].tolist() == [0.75]
    assert measure_of([later])(once)["1"].tolist() == [0.5]
    assert measure_of([later])(once)["2"].tolist() == [1.0]
    assert difference([all_found], [half_found])(once)["1"].tolist() == [0.5]
    assert difference([later], [half_found])(once)["1"].tolist() == [0.0]


@pytest.mark.parametrize("world", NETWORKS)
@pytest.mark.parametrize("name", ARMS)
def test_the_settings_of_an_arm_are_those_of_a_run(tmp_path: Path, name: str, world: str) -> None:
    file = tmp_path / "arm.toml"
    text = settings(Path("/w"), "run", ARMS[name], 3, 100, Path("/w/base.safetensors"), world)
    file.write_text(text, encoding="utf-8")
    config = read_config(file)
    assert config.network.spacing_mm == SPACING_MM[world]
    assert config.supervision == ARMS[name].supervision
    assert (config.seed, config.optimisation.steps, config.start) == (3, 100, "/w/base.safetensors")
    assert [source.name for source in config.sources] == ["full", *filter(None, [ARMS[name].view])]
    assert ARMS[name].against in (None, *ARMS)

"""Each supervision by itself on 5 x 5 x 5 cells, and two processes against one."""

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training.batches import CELLS, silent

from helpers import ROOT
from model.heads import channels_of
from resources.training.config import Supervision
from resources.training.data.batch import (
    FULL,
    REPORT_NEGATIVE,
    REPORT_POSITIVE,
    SPEAKERS,
    TEACHER,
    UNMARKED,
    WEAK,
    Batch,
)
from resources.training.targets.supervise import losses

OFF = Supervision(**{f.name: 0.0 for f in dataclasses.fields(Supervision)})
NO_ORGANS = torch.zeros(1, 0, 2, 2, 2)
HIT, MISS = 0.25 * math.log(2), 0.25 * math.log(2)
"""Of a cell with p = 1/2: (1/2)^2 log 2, whether there is a lesion or none."""


def spoken() -> Batch:
    """One cell a source in the map of type 0: positive for FULL, WEAK, TEACHER, REPORT_POSITIVE, negative for
    the others. Cell (0, 0, k) is that of source k. Weights are 1, but 1/2 for what a report says.
    """
    batch = silent()
    for who in range(6):
        cell = (0, 0, 0, 0, who) if who < 5 else (0, 0, 0, 1, who - 5)
        batch.said_by[cell] = who
        batch.weight[cell] = 0.5 if who in (REPORT_POSITIVE, REPORT_NEGATIVE) else 1.0
        batch.heat[cell] = float(who in (FULL, WEAK, TEACHER, REPORT_POSITIVE))
    return batch


def losses_of(output: torch.Tensor, batch: Batch, supervision: Supervision) -> dict[str, torch.Tensor]:
    """Losses of a batch all of whose patches come from one source."""
    return losses(output, NO_ORGANS, trusting(batch, supervision), supervision, lambda number: number)


def trusting(batch: Batch, supervision: Supervision) -> Batch:
    weights = [getattr(supervision, name) for name in (*SPEAKERS, "organs")]
    return dataclasses.replace(batch, trust=torch.tensor([weights] * len(batch.hu)))


def run(batch: Batch, output: torch.Tensor, **weights: float) -> dict[str, float]:
    found = losses_of(output, batch, dataclasses.replace(OFF, **weights))
    return {name: value.item() for name, value in found.items()}


def zeros(patches: int = 1, types: int = 2) -> torch.Tensor:
    return torch.zeros(patches, channels_of(types), *CELLS, requires_grad=True)


def test_sources_are_named_in_the_order_of_their_numbers() -> None:
    spoken = [FULL, WEAK, UNMARKED, TEACHER, REPORT_POSITIVE, REPORT_NEGATIVE]
    assert spoken == list(range(6))
    assert SPEAKERS[WEAK] == "weak"
    assert SPEAKERS[REPORT_NEGATIVE] == "report_negative"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("full", HIT),  # one cell of weight 1, divided by it
        ("weak", HIT),
        ("unmarked", MISS),  # no lesion among them: divided by 1
        ("teacher", HIT),
        ("report_positive", 0.5 * HIT),  # the lesion weighs less than 1
        ("report_negative", 0.5 * MISS),
    ],
)
def test_a_supervision_alone_sees_its_own_cells_and_no_others(name: str, expected: float) -> None:
    output = zeros()
    found = losses_of(output, spoken(), dataclasses.replace(OFF, **{name: 2.0}))
    assert list(found) == [name]
    assert found[name].item() == pytest.approx(2 * expected)
    found[name].backward()
    assert output.grad is not None
    who = SPEAKERS.index(name)
    assert output.grad.nonzero().tolist() == [[0, 0, 0, 0, who] if who < 5 else [0, 0, 0, 1, who - 5]]


def test_together_all_are_divided_by_the_lesions_of_all() -> None:
    found = run(spoken(), zeros(), **dict.fromkeys(SPEAKERS, 1.0))
    lesions = 1 + 1 + 1 + 0.5
    assert found == {
        "full": pytest.approx(HIT / lesions),
        "weak": pytest.approx(HIT / lesions),
        "unmarked": pytest.approx(MISS / lesions),
        "teacher": pytest.approx(HIT / lesions),
        "report_positive": pytest.approx(0.5 * HIT / lesions),
        "report_negative": pytest.approx(0.5 * MISS / lesions),
    }


def test_a_lesion_of_unknown_type_is_in_the_maximum_alone() -> None:
    batch = silent()
    batch.any_heat[0, 2, 2, 2] = 1.0
    batch.any_weight[0, 2, 2, 2] = 1.0
    batch.any_said_by[0, 2, 2, 2] = WEAK
    output = zeros()
    found = losses_of(output, batch, dataclasses.replace(OFF, weak=1.0))
    assert found["weak"].item() == pytest.approx(HIT)
    found["weak"].backward()
    assert output.grad is not None
    assert output.grad.nonzero().tolist() == [[0, 0, 2, 2, 2], [0, 1, 2, 2, 2]]  # both maps, equally
    assert output.grad[0, 0, 2, 2, 2] == output.grad[0, 1, 2, 2, 2] < 0


def test_geometry_counts_for_the_sources_that_are_on() -> None:
    batch = silent()
    for x, who in enumerate((FULL, WEAK)):
        batch.geometry[0, :, 2, 2, x] = 1.0
        batch.geometry_weight[0, :, 2, 2, x] = 1.0
        batch.geometry_said_by[0, 2, 2, x] = who
    batch.geometry_weight[0, 5, 2, 2, 1] = 0.0  # the mark has no z extent
    assert run(batch, zeros(), full=1.0, geometry=0.3)["geometry"] == pytest.approx(0.3 * 6)
    # six times the mean error of the channels that were measured, 1 everywhere
    assert run(batch, zeros(), weak=1.0, geometry=0.3)["geometry"] == pytest.approx(0.3 * 5 / 1)
    assert run(batch, zeros(), full=1.0, weak=1.0, geometry=0.3)["geometry"] == pytest.approx(0.3 * 6)
    assert run(batch, zeros(), geometry=0.3)["geometry"] == 0


def test_each_patch_weighs_what_its_source_gives_it() -> None:
    batch = silent(2)
    batch.said_by[:, 0, 0, 0, 0] = FULL
    batch.weight[:, 0, 0, 0, 0] = 1.0
    batch.heat[:, 0, 0, 0, 0] = 1.0
    batch.trust[:, FULL] = torch.tensor([2.0, 0.0])
    found = losses(zeros(2), NO_ORGANS, batch, dataclasses.replace(OFF, full=2.0), lambda number: number)
    assert found["full"].item() == pytest.approx(2 * HIT)  # of one lesion: the other patch's source is off


def test_organs_by_hand() -> None:
    """One coarse cell of eight fine ones: five of class 0, two of class 1, one of which nobody knows."""
    batch = silent(cells=(2, 2, 2))
    batch.organs[0] = torch.tensor([0, 0, 0, 0, 0, 1, 1, -1]).view(2, 2, 2)
    logits = torch.tensor([math.log(3.0), 0.0]).view(1, 2, 1, 1, 1)  # probabilities 3/4 and 1/4
    settings = dataclasses.replace(OFF, organs=0.5)
    output = torch.zeros(1, 8, 2, 2, 2)
    found = losses(output, logits, trusting(batch, settings), settings, lambda number: number)
    wanted = -(5 / 8 * (1 / 4) ** 2 * math.log(3 / 4) + 2 / 8 * (3 / 4) ** 2 * math.log(1 / 4))
    assert found == {"organs": pytest.approx(0.5 * wanted)}  # a known share below 1 is not blown up
    batch.organs[:] = -1
    assert losses(output, logits, trusting(batch, settings), settings, lambda n: n)["organs"] == 0


def test_nothing_known_gives_gradients_of_zero() -> None:
    output = zeros()
    everything = dataclasses.replace(Supervision(), unmarked=1, teacher=1, report_negative=1)
    found = losses_of(output, silent(), everything)
    assert sum(value.item() for value in found.values()) == 0
    sum(found.values()).backward()  # type: ignore[union-attr]
    assert output.grad is not None
    assert not output.grad.any()


def test_two_processes_give_the_gradients_of_one(tmp_path: Path) -> None:
    """Real processes over gloo, DDP, a network in eval mode; the first rank's patch has more lesions."""
    script = Path(__file__).with_name("two_processes.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'test'}"}
    running = [
        subprocess.Popen([sys.executable, str(script), str(tmp_path), str(rank)], env=environment)
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=900) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    joint, first, second = (load_file(tmp_path / f"{name}.safetensors") for name in ("joint", "0", "1"))
    losses = {name for name in joint if name.startswith("losses.")}
    assert losses == {f"losses.{name}" for name in (*SPEAKERS, "geometry")}
    for name in losses:
        torch.testing.assert_close((first[name] + second[name]) / 2, joint[name], rtol=1e-5, atol=1e-7)
    gradients = set(joint) - losses
    for name in gradients:
        torch.testing.assert_close(first[name], joint[name], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(second[name], joint[name], rtol=1e-4, atol=1e-7)
    assert any(joint[name].abs().max() > 1e-3 for name in gradients)

"""One of two processes: FOLDER RANK. Writes the gradients of DDP on its half of a batch; rank 0 also those of
one process on the whole of it.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from training.batches import silent

from helpers import SMALL, lively
from resources.training.config import Supervision
from resources.training.data.batch import SPEAKERS, Batch
from resources.training.targets.supervise import losses

CELLS = (8, 8, 8)
EVERYTHING = Supervision(
    unmarked=0.5,
    teacher=0.7,
    report_positive=0.8,
    report_negative=0.6,
    geometry=0.3,
)


def whole_batch() -> Batch:
    """Two patches; the lesions of the second weigh a tenth of those of the first."""
    generator = torch.Generator().manual_seed(1)
    types = len(SMALL.types)
    batch = silent(2, types, CELLS)

    def said(*shape: int) -> torch.Tensor:
        return torch.randint(0, len(SPEAKERS), shape, generator=generator, dtype=torch.int8)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    share = torch.tensor([1.0, 0.1]).reshape(2, 1, 1, 1)
    return dataclasses.replace(
        batch,
        hu=torch.randint(-200, 200, batch.hu.shape, generator=generator).float(),
        heat=(drawn(2, types, *CELLS) > 0.95).float(),
        weight=drawn(2, types, *CELLS) * share[:, None],
        said_by=said(2, types, *CELLS),
        any_weight=drawn(2, *CELLS) * share,
        any_said_by=said(2, *CELLS),
        geometry=drawn(2, 6, *CELLS),
        geometry_weight=drawn(2, 6, *CELLS) * share[:, None],
        geometry_said_by=said(2, *CELLS),
    )


def half(batch: Batch, rank: int) -> Batch:
    changes = {
        f.name: getattr(batch, f.name)[rank : rank + 1]
        for f in dataclasses.fields(batch)
        if f.name != "names"
    }
    return dataclasses.replace(batch, **changes, names=batch.names[rank : rank + 1])


def summed(number: torch.Tensor) -> torch.Tensor:
    joint = number.clone()
    dist.all_reduce(joint)
    return joint


def write(path: Path, network: nn.Module, found: dict[str, torch.Tensor]) -> None:
    torch.stack(list(found.values())).sum().backward()
    gradients = {name.removeprefix("module."): p.grad for name, p in network.named_parameters()}
    tensors = {f"losses.{name}": value.detach().clone() for name, value in found.items()}
    save_file(tensors | {f"gradients.{name}": value.clone() for name, value in gradients.items()}, path)


def main(folder: Path, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    batch = whole_batch()
    network = lively().eval()
    parallel = DistributedDataParallel(network)
    own = half(batch, rank)
    write(folder / f"{rank}.safetensors", parallel, losses(*parallel(own.hu), own, EVERYTHING, summed))
    if rank == 0:
        one = lively().eval()
        write(
            folder / "joint.safetensors",
            one,
            losses(*one(batch.hu), batch, EVERYTHING, lambda number: number),
        )
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

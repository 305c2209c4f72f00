"""One procedural patient: the whole body painted from a seed, without lesions and without a scanner."""

from __future__ import annotations

from resources.synthetic.abdomen import paint_abdomen, paint_pelvis
from resources.synthetic.body import Habitus, paint_body, paint_limbs
from resources.synthetic.bowel import paint_bowel, paint_nodes
from resources.synthetic.girdles import paint_girdles
from resources.synthetic.organs import tissue_hu
from resources.synthetic.skeleton import paint_skeleton
from resources.synthetic.space import Space
from resources.synthetic.thorax import paint_gullet, paint_lung_trees, paint_thorax
from resources.synthetic.vessels import paint_great_vessels


def paint_patient(space: Space, habitus: Habitus, phase: str, oral: dict[str, float]) -> dict[str, float]:
    """Paints the anatomy on an empty grid; returns the mean HU of the patient's tissues.

    oral: weights of "none", "water" and "positive" contrast.
    """
    draw = space.draw
    tissues = tissue_hu(phase, draw) | {"age": habitus.age}
    breath_mm = draw.normal(-6, 9)
    frame = paint_body(space, habitus, tissues)
    paint_skeleton(space, frame)
    paint_girdles(space, frame)
    paint_thorax(space, frame, breath_mm)
    paint_pelvis(space, frame)
    paint_great_vessels(space, frame)
    paint_abdomen(space, frame, breath_mm)
    paint_gullet(space, frame)
    paint_lung_trees(space, frame)
    paint_bowel(space, frame, breath_mm, space.draw.weighted(oral))
    paint_nodes(space, frame)
    paint_limbs(space, frame)
    return tissues

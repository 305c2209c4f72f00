"""The review page of a scan: one HTML file that holds viewer, reduced copy of the scan and findings."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from model.config import LESION_TYPES
from model.exports import Results
from model.preprocess import Grid
from model.volume import Volume
from resources.review.planes import WINDOWS
from resources.review.second_look import SecondLook
from resources.review.slices import nifti_of, projections

FOLDER = Path(__file__).parent
NIIVUE = FOLDER / "niivue" / "niivue.umd.js"
NIIVUE_VERSION = "0.69.0"


@dataclasses.dataclass(frozen=True)
class Numbering:
    """The number of each slice along z as a workstation shows it, and where that comes from."""

    numbers: tuple[int, ...]
    text: str


@functools.cache
def environment() -> Environment:
    """Jinja for the pages of this package: escapes all values, refuses unknown names."""
    made = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    made.globals["style"] = Markup((FOLDER / "style.css").read_text(encoding="utf-8"))
    return made


def page_of(
    case_id: str,
    results: Results,
    volume: Volume,
    copy: Grid,
    numbering: Numbering,
    look: SecondLook | None = None,
) -> str:
    """The page of a scan. copy: the reduced copy that the viewer shows. look: its report, cross-checked."""
    details = results.details
    pictures = [
        {**dataclasses.asdict(p), "base64": base64.b64encode(p.png).decode()} for p in projections(copy)
    ]
    return environment().get_template("page.html.j2").render(
        data=page_data(case_id, results, volume, numbering, look),
        likelihood=results.likelihood,
        positive=details["scan_above_operating_point"],
        warnings=details["warnings"],
        windows=list(WINDOWS),
        copy_mm=copy.spacing_mm,
        coarser=copy.spacing_mm > 1.05 * min(volume.spacing_mm),
        projections=pictures,
        numbering=numbering.text,
        report_html=Markup("") if look is None else look.html(),
        niivue_version=NIIVUE_VERSION,
        nifti=Markup(base64.b64encode(nifti_of(copy)).decode()),
        niivue=Markup(NIIVUE.read_text(encoding="utf-8")),
        script=Markup((FOLDER / "viewer.js").read_text(encoding="utf-8")),
    )  # fmt: skip


def page_data(
    case_id: str, results: Results, volume: Volume, numbering: Numbering, look: SecondLook | None
) -> dict[str, Any]:
    """What the page's script works on, as JSON values."""
    index = volume.world_to_index([d.point_mm for d in results.detections] or [[0, 0, 0]])
    last = volume.hu.shape[0] - 1
    findings = [
        {
            **{
                name: value
                for name, value in dataclasses.asdict(d).items()
                if name not in ("type_probabilities", "above_operating_point")
            },
            "slice": numbering.numbers[min(max(round(float(z)), 0), last)],
        }
        for d, z in zip(results.detections, index[:, 2], strict=False)
    ]
    details = results.details
    digest = hashlib.sha256(json.dumps(findings, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "case": case_id,
        "file": f"{case_id.replace('/', '_')}.review.json",
        "digest": digest,
        "types": list(LESION_TYPES),
        "threshold": round(float(details["operating_point"]), 2),
        "made_by": {key: str(details[key]) for key in ("software_version", "weights_version")},
        "scan": {
            "size": list(volume.hu.shape[::-1]),
            "spacing_mm": [float(mm) for mm in volume.spacing_mm],
            "origin_mm": [float(mm) for mm in volume.origin_mm],
            "direction": volume.direction.ravel().tolist(),
            "slice_numbers": list(numbering.numbers),
        },
        "findings": findings,
        "report": None if look is None else look.data(results.detections),
    }

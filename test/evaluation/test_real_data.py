"""Real tumour masks on real CT: what ITK says about their place has to match them exactly."""

import json
from pathlib import Path

import pytest
import SimpleITK as sitk
from evaluation.scenario import write_prediction

from resources.cases.case import Annotation, Case, Completeness, ImageSource, write_cases
from resources.evaluation.__main__ import main

SARCOMA = Path(__file__).parents[2].parent / "shared" / "data" / "ct" / "sarcoma"


@pytest.mark.slow
@pytest.mark.skipif(not SARCOMA.is_dir(), reason=f"{SARCOMA} is not here")
def test_boxes_and_places_of_real_masks(tmp_path: Path) -> None:
    cases = []
    for image in sorted(SARCOMA.glob("*_image.nii.gz"))[:6]:
        mask = image.with_name(image.name.replace("_image", "_mask"))
        name = image.name.split("_CT")[0]
        shape = sitk.LabelShapeStatisticsImageFilter()
        labels = sitk.Cast(sitk.ReadImage(str(mask)) > 0, sitk.sitkUInt8)
        shape.Execute(labels)
        first, size = shape.GetBoundingBox(1)[:3], shape.GetBoundingBox(1)[3:]
        ends = [[f - 0.5 for f in first], [f + n - 0.5 for f, n in zip(first, size, strict=True)]]
        corners = [labels.TransformContinuousIndexToPhysicalPoint(end) for end in ends]
        lower, upper = [[f(pair) for pair in zip(*corners, strict=True)] for f in (min, max)]
        # a voxel of the mask for sure, for a tumour's centroid may lie outside it
        inside = labels.TransformIndexToPhysicalPoint(shape.GetIndexes(1)[:3])
        folder = tmp_path / "found" / name
        write_prediction(folder, [(inside, 0.9)], 0.9)
        details = json.loads((folder / "lesion-details.json").read_text(encoding="utf-8"))
        details["points"][0]["box_mm"] = {"lower": lower, "upper": upper}
        (folder / "lesion-details.json").write_text(json.dumps(details), encoding="utf-8")
        value = int(sitk.GetArrayFromImage(sitk.ReadImage(str(mask))).max())
        lesion = Annotation("mask", mask=str(mask), label=value)
        source = ImageSource(str(image))
        cases.append(Case(name, name, "sarcoma", "test", source, (lesion,), Completeness("all")))
    write_cases(tmp_path / "cases.jsonl", cases)
    given = {"truth": tmp_path / "cases.jsonl", "predictions": tmp_path / "found", "out": tmp_path / "out"}
    assert main([f"--{name}={path}" for name, path in given.items()] + ["--gallery=1"]) == 0
    model = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["models"][0]
    assert len(cases) == 6
    for name in ("point_inside", "iou_0.1", "iou_0.1_hungarian", "iobb_0.3"):
        assert model["rules"][name]["measures"]["cpm"]["value"] == 1, name
    # a tumour's 3D box is wider than the tumour on its key slice, so this rule need not match all
    assert model["rules"]["key_slice_iou_0.5"]["measures"]["cpm"]["value"] >= 0.5

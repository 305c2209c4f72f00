"""Site C: devices where the truth says so, organs taken out, and reports that know of them."""

import dataclasses

import pytest
import torch

from resources.reports.reader import read_report
from resources.synthetic.body import draw_habitus
from resources.synthetic.devices import paint_devices
from resources.synthetic.draw import Draw
from resources.synthetic.focal import Painter, paint_lesions
from resources.synthetic.generate import Order, make_scan
from resources.synthetic.organs import LABEL
from resources.synthetic.patient import paint_patient
from resources.synthetic.report_writer import write_report
from resources.synthetic.scanner import DENSE_HU
from resources.synthetic.sites import SITES
from resources.synthetic.space import Space
from resources.synthetic.truth import TrueScan

ABSENT = ("gall bladder", "spleen", "kidney left")


@pytest.fixture(scope="module")
def painter() -> Painter:
    torch.set_num_threads(1)
    draw = Draw(2)
    habitus = dataclasses.replace(draw_habitus(draw, SITES["C"]), worn=1.0, absent=ABSENT, sex="male")
    space = Space((84, 56, 72), (6.0, 6.0, 6.0), (-213.0, -165.0, -50.0), draw, habitus.scale, 10.0)
    tissues = paint_patient(space, habitus, "portal", SITES["C"].oral)
    return Painter(space, tissues, Draw(4), torch.zeros_like(space.label))


def test_organs_taken_out_have_no_voxel(painter: Painter) -> None:
    for organ in ABSENT:
        assert not (painter.space.label == LABEL[organ]).any()
    assert (painter.space.label == LABEL["kidney right"]).any()
    assert (painter.space.label == LABEL["liver"]).any()


def test_devices_lie_where_they_belong_and_no_lesion_on_them(painter: Painter) -> None:
    space, labels = painter.space, painter.space.label.clone()
    assert not (space.hu > DENSE_HU).any()
    shares = dict.fromkeys(SITES["C"].devices, 1.0) | {"central line": 0.0}
    shown = paint_devices(painter, shares, ABSENT)
    assert {"nasogastric tube", "abdominal drain", "spinal screws", "hip prosthesis", "clips"} <= set(shown)
    assert {"central line", "breast implants"}.isdisjoint(shown)  # not wanted; a man
    assert torch.equal(space.label, labels)
    places = space.label[space.hu > DENSE_HU]
    for keys in (("L3", "L4"), ("femur left", "femur right")):
        assert torch.isin(places, torch.tensor([LABEL[key] for key in keys])).any()
    paint_lesions(painter, 12)
    for lesion in painter.found:
        for center, long_mm in painter.devices:
            gap = torch.dist(torch.tensor(lesion.center_mm), torch.tensor(center))
            assert float(gap) > 0.5 * (lesion.long_mm + long_mm)


def test_a_scan_of_site_c_names_what_it_shows() -> None:
    scan = make_scan(Order(7, "C", (6.0, 6.0, 6.0), "both", lesion_count=1))
    assert scan.truth.attributes["devices"] == "port, nasogastric tube, bladder catheter"
    assert scan.truth.absent == ("kidney left",)
    assert not (scan.organs == LABEL["kidney left"]).any()
    assert (scan.organs == LABEL["kidney right"]).any()
    assert scan.truth.attributes["metal"] == 1.0  # of the port
    top = scan.volume.hu[len(scan.volume.hu) // 2 :]
    assert top.max() > 2000 > scan.volume.hu[: len(scan.volume.hu) // 2].max()


@pytest.mark.parametrize("language", ["en", "nl"])
def test_reports_do_not_call_normal_what_was_taken_out(language: str) -> None:
    organs = ("liver", "lung", "kidney", "pancreas", "adrenal gland")
    scan = TrueScan((), organs, {"absent": ", ".join(ABSENT), "phase": "portal", "worn": 0.9})
    reports = [write_report(scan, language, "C", seed) for seed in range(60)]  # type: ignore[arg-type]
    cleared = {m.finding.organ for report in reports for m in report.mentions}
    read = {finding.organ for report in reports for finding in read_report(report.text)}
    assert {"liver", "lung", "pancreas"} <= cleared
    assert {"spleen", "kidney"}.isdisjoint(cleared)
    assert {"spleen", "kidney", "gallbladder", "gall bladder"}.isdisjoint(read)
    words = ("cholecyst", "splenect", "nef" if language == "nl" else "neph")
    assert all(any(word in report.text for report in reports) for word in words)
    assert not any(("milt niet" if language == "nl" else "spleen not") in report.text for report in reports)

"""The page in a real browser without a network: read, corrected, saved; what becomes of corrections."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review.results import ORIENTATIONS, places, scan_of, write_results, write_volume

from resources.cases.__main__ import main as cases_main
from resources.cases.case import read_cases
from resources.review.__main__ import main
from resources.training.__main__ import main as train

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here (apt-get install chromium)")
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
]
REPORT = "Lungs: a nodule of 21 mm in the right lung. Liver: hypodense metastasis of 40 mm in the liver."
RUN = """
work = "run"
seed = 0
[[sources]]
name = "reviewed"
cases = "cases.jsonl"
cache = "cache"
[network]
widths = [4, 6, 8]
blocks = [1, 1, 1]
[optimisation]
steps = 2
batch = 1
[patches]
shape = [24, 32, 32]
workers = 0
"""


@pytest.fixture
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans with their pages and summary; the first has a report."""
    folder = tmp_path_factory.mktemp("review")
    volume = scan_of(ORIENTATIONS["oblique"])
    for name in ("a", "b"):
        write_volume(folder / "scans" / f"{name}.mha", volume)
        first, second, third = places(volume, (0.35, 0.5, 0.3), (0.6, 0.5, 0.6), (0.5, 0.4, 0.5))
        rows = [("lung", first, 0.9, 20.0), ("bone", second, 0.7, 30.0), ("liver", third, 0.2, 12.0)]
        write_results(folder / "out" / name, rows, likelihood=0.9 if name == "a" else 0.4)
    (folder / "scans" / "a.txt").write_text(REPORT, encoding="utf-8")
    scans = ("--scans", str(folder / "scans"), "--processes", "1")
    assert main([str(folder / "out"), *scans]) == 0
    return folder / "out"


@pytest.fixture
def page(out: Path) -> Iterator[Any]:
    """A browser without a network; any request or error of a script fails the test."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=OPTIONS)
        context = browser.new_context(offline=True, viewport={"width": 1400, "height": 900})
        page = context.new_page()
        page.set_default_timeout(120_000)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if _leaves(request.url) else None)
        yield page
        browser.close()
        assert wrong == []


def _leaves(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:"))


def _open(page: Any, file: Path) -> None:
    page.goto(file.as_uri())
    page.wait_for_selector("body[data-ready=yes]")


def _grey(page: Any) -> int:
    """The value of a pixel beside the crosshair in the axial plane."""
    script = """() => { nv.drawScene(); const t = tiles()[0], gl = nv.gl, out = new Uint8Array(4);
      const [x, y] = nv.frac2canvasPos(nv.scene.crosshairPos);
      gl.readPixels(x - 20, gl.canvas.height - y + 20, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, out);
      return out[0]; }"""
    return int(page.evaluate(script))


def jumps_windows_and_moves_the_slider(page: Any, out: Path) -> None:
    _open(page, out / "a" / "review.html")
    assert "Not a medical device" in page.inner_text("body")
    points = json.loads((out / "a" / "lesion-points.json").read_text(encoding="utf-8"))["points"]

    page.click('tr[data-number="2"] td:nth-child(4)')
    assert np.abs(np.array(page.evaluate("crosshair()")) - points[1]["point"]).max() < 0.5
    apart = """(p) => { const t = tiles()[0], c = nv.frac2canvasPos(nv.scene.crosshairPos);
      return Math.hypot(t.x(p) - c[0], t.y(p) - c[1]); }"""
    assert (
        page.evaluate(apart, points[1]["point"]) < 1.5
    )  # the outline is drawn where the viewer shows the place

    soft = _grey(page)
    page.keyboard.press("2")
    assert "L -600 W 1500" in page.inner_text("#window")
    lung = _grey(page)
    assert 0 < soft < lung < 255  # tissue is grey in the soft-tissue window and brighter in the lung's

    assert page.locator("#findings tr").count() == 2  # the third is less probable than the slider says
    page.evaluate("""() => { const s = document.getElementById("threshold"); s.value = 0.1;
                             s.dispatchEvent(new Event("input")); }""")
    assert page.locator("#findings tr").count() == 3


def corrections_become_a_case_that_trains(page: Any, out: Path, tmp_path: Path) -> None:
    points = json.loads((out / "a" / "lesion-points.json").read_text(encoding="utf-8"))["points"]
    details = json.loads((out / "a" / "lesion-details.json").read_text(encoding="utf-8"))["points"]
    page.keyboard.press("r")
    page.keyboard.press("k")
    page.keyboard.press("a")
    page.fill('[aria-label="comment on finding 1"]', 'likely "new" </script>')
    page.keyboard.press("Escape")
    page.evaluate(f"nv.scene.crosshairPos = nv.mm2frac(toRAS({points[2]['point']}))")
    page.keyboard.press("m")
    page.fill('[aria-label="long diameter of m1 in mm"]', "14")
    page.keyboard.press("Escape")
    page.select_option('[aria-label="type of m1"]', "kidney")
    page.check("#complete")
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "a.review.json"
    download.value.save_as(tmp_path / "a.review.json")

    listed = ["--cases", str(out / "cases.jsonl"), "--validation", "0", "--test", "0"]
    assert cases_main(["reviews", str(tmp_path), *listed, "--out", str(tmp_path / "cases.jsonl")]) == 0
    (case,) = read_cases(tmp_path / "cases.jsonl")
    accepted, rejected, missed = case.annotations
    assert (accepted.kind, accepted.type, accepted.status) == ("box3d", "lung", "lesion")
    assert accepted.attributes["comment"] == 'likely "new" </script>'
    assert accepted.lower == pytest.approx(details[0]["box_mm"]["lower"])
    assert (accepted.long_mm, accepted.short_mm) == (20.0, 16.0)
    assert (rejected.status, rejected.type) == ("benign", "bone")
    assert (missed.kind, missed.type, missed.long_mm, missed.frame) == ("point", "kidney", 14.0, "mm")
    assert missed.point == pytest.approx(points[2]["point"], abs=0.15)
    assert case.completeness.kind == "all"

    cache = ["cache", str(tmp_path / "cases.jsonl"), "--out", str(tmp_path / "cache"), "--processes", "1"]
    assert cases_main(cache) == 0
    (tmp_path / "run.toml").write_text(RUN, encoding="utf-8")
    assert train([str(tmp_path / "run.toml")]) == 0
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def the_review_is_there_again_after_a_reload(page: Any, out: Path) -> None:
    _open(page, out / "a" / "review.html")
    assert page.get_attribute('tr[data-number="1"] button.accepted', "aria-pressed") == "true"
    assert page.locator('tr[data-number="m1"]').count() == 1


def the_page_says_what_the_report_mentions(page: Any) -> None:
    mentions = page.evaluate("[1, 2].map((n) => data.report.mentions[n] && data.report.mentions[n].text)")
    assert "nodule of 21 mm" in mentions[0]
    assert mentions[1] is None
    assert "40 mm" in page.inner_text("ul.lost")


def nothing_is_cut_off(page: Any, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 1000})
    size = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    needed, there = page.evaluate(size)
    assert needed <= there
    ground, text = page.evaluate(
        "(() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]; })()"
    )
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert ground != text


def prints_what_the_viewer_shows(page: Any, tmp_path: Path) -> None:
    page.evaluate('window.dispatchEvent(new Event("beforeprint"))')
    assert page.evaluate('document.getElementById("printed").src.length') > 5000
    assert page.pdf(path=tmp_path / "page.pdf")[:5] == b"%PDF-"


def overview_is_sorted_by_a_click_and_leads_to_the_pages(page: Any, out: Path) -> None:
    page.goto((out / "summary.html").as_uri())
    names = (
        "[...document.querySelectorAll('#rows tr')].filter((r) => !r.hidden).map((r) => r.cells[1].innerText)"
    )
    assert page.evaluate(names) == ["a", "b"]
    page.click("th:has-text('likelihood') button")
    assert page.evaluate(names) == ["b", "a"]
    page.fill("#filter", "nothing")
    assert page.evaluate(names) == []
    page.fill("#filter", "")
    page.click("#rows tr:nth-child(2) a")
    assert page.url.endswith("/a/review.html")


@needs_browser
@pytest.mark.slow
def test_a_session_of_a_reader(page: Any, out: Path, tmp_path: Path) -> None:
    """One browser and one page for all of it, in the order in which a reader would do it."""
    jumps_windows_and_moves_the_slider(page, out)
    corrections_become_a_case_that_trains(page, out, tmp_path)
    the_review_is_there_again_after_a_reload(page, out)
    the_page_says_what_the_report_mentions(page)
    for scheme in ("light", "dark"):
        for width in (1400, 820):
            nothing_is_cut_off(page, scheme, width)
    prints_what_the_viewer_shows(page, tmp_path)
    overview_is_sorted_by_a_click_and_leads_to_the_pages(page, out)

"""The page in a real browser: it shows, asks for nothing, and prints."""

import base64
import io
import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from evaluation.scenario import ball, write_prediction
from PIL import Image

from resources.cases.case import Case, Completeness, ImageSource, write_cases
from resources.evaluation.__main__ import main

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here (apt-get install chromium)")
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-sync", "--disable-background-networking", "--disable-component-update"),
    *("--disable-default-apps", "--disable-extensions", "--disable-domain-reliability", "--no-pings"),
]


class Proxy:
    """Listens where a browser would send every request, and notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(4096).split(b"\r\n")[0].decode(errors="replace"))


def browse(page: Path, profile: Path, *options: str) -> list[str]:
    """Opens a page; returns what was asked of the network by it (not by the browser for itself)."""
    proxy = Proxy()
    command = [str(BROWSER), *QUIET, f"--user-data-dir={profile}", f"--proxy-server=127.0.0.1:{proxy.port}"]
    command += ["--proxy-bypass-list=<-loopback>", *options, page.as_uri()]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, check=False)
    proxy.server.close()
    assert result.returncode == 0, result.stderr[-2000:]
    return [line for line in proxy.asked if "google" not in line and "gvt1" not in line]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three cases with images, one with a name that would break a page that does not escape."""
    folder = tmp_path_factory.mktemp("page")
    depth, row, column = np.mgrid[:40, :60, :60]
    nasty = "a<script>alert(1)<|script>&"
    made = {
        nasty: ((30, 30, 20), [((50, 50, 30), 0.9), ((20, 30, 20), 0.2)], 0.9),
        "b": ((25, 20, 30), [((50, 50, 30), 0.85), ((25, 20, 30), 0.8), ((20, 30, 20), 0.2)], 0.8),
        "c": (None, [], 0.1),
    }
    cases = []
    for number, (name, (centre, points, likelihood)) in enumerate(made.items()):
        hu = np.where(row < 45, 40, -1000)  # with air behind the body, or it would not be read as CT
        lesions = ()
        if centre is not None:
            x, y, z = centre
            hu[(column - x) ** 2 + (row - y) ** 2 + (depth - z) ** 2 < 100] = 150
            lesions = (ball(x, y, z, 20, type="liver"),)
        path = folder / f"{number}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(hu.astype(np.int16)), str(path))
        source = ImageSource(str(path))
        cases.append(Case(name, name, "made", "test", source, lesions, Completeness("all")))
        write_prediction(folder / "found" / name, points, likelihood)
    write_cases(folder / "cases.jsonl", cases)
    given = ["--truth", folder / "cases.jsonl", "--predictions", folder / "found", "--out", folder / "out"]
    assert main(list(map(str, given))) == 0
    return folder / "out" / "index.html"


def test_it_is_self_contained_and_escaped(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "Not a medical device" in text
    assert "<script" not in text
    assert "a&lt;script&gt;alert(1)&lt;|script&gt;&amp;" in text
    sources = re.findall(r"""(?:src|href|srcset|action|data)\s*=\s*["']([^"']{0,40})""", text)
    assert len(sources) == 6 + 5  # charts; four false positives and a missed lesion
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"@import|url\(|<(?:link|iframe|object|embed|base|form)\b", text)
    assert "no picture" not in text


def test_pictures_show_true_and_predicted_outlines(page: Path) -> None:
    """Only in the first none of the three planes cuts the lesion."""
    found = re.findall(r"data:image/png;base64,([^\"]+)", page.read_text(encoding="utf-8"))
    outlined = []
    for picture in found:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")).astype(int)
        orange = (np.abs(pixels - [255, 176, 0]).sum(2) < 60).sum()
        cyan = (np.abs(pixels - [0, 229, 255]).sum(2) < 60).sum()
        outlined.append((bool(orange > 50), bool(cyan > 50)))
    assert outlined[:3] == [(True, False), (True, True), (True, True)]
    assert [cyan for _, cyan in outlined[3:]] == [True, True]


@needs_browser
def test_it_shows_and_asks_for_nothing(page: Path, tmp_path: Path) -> None:
    open_page = tmp_path / "open.html"  # without its policy nothing would hold a request back
    open_page.write_text(
        re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8")), encoding="utf-8"
    )
    shot = tmp_path / "shot.png"
    for number, file in enumerate((page, open_page)):
        asked = browse(file, tmp_path / f"profile{number}", f"--screenshot={shot}", "--window-size=1100,3000")
        assert asked == []
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape == (3000, 1100, 3)
    assert len(np.unique(pixels[:150].reshape(-1, 3), axis=0)) > 20  # the warning and the title
    assert (np.abs(pixels - [255, 244, 214]).sum(2) < 6).sum() > 10_000  # the warning's ground
    blue = (np.abs(pixels - [11, 83, 148]).sum(2) < 12).sum()
    assert blue > 200  # the curves' colour: the charts are drawn


@needs_browser
def test_a_request_would_have_been_seen(tmp_path: Path) -> None:
    """The guard can fail: a page with an image from elsewhere asks the proxy for it."""
    page = tmp_path / "page.html"
    page.write_text('<img src="http://example.invalid/picture.png">', encoding="utf-8")
    asked = browse(page, tmp_path / "profile", f"--screenshot={tmp_path / 'shot.png'}")
    assert any("example.invalid" in line for line in asked)


@needs_browser
def test_it_prints(page: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.pdf"
    browse(page, tmp_path / "profile", f"--print-to-pdf={target}")
    content = target.read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 3
    assert len(content) > 100_000  # with its figures

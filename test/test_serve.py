"""The platform's invoke API, through real servers."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import (
    command_of,
    environment,
    files_below,
    last_line,
    phantom,
    read_results,
    write_large,
    write_scan,
)

REASON = "expected a CT image, found: no image format that is known"


class Server:
    """process.py --serve on a port of its own."""

    def __init__(self, folder: Path, weights: Path):
        options = ("--serve", "--port", 0, "--input", folder / "in", "--output", folder / "out")
        self.run = subprocess.Popen(
            command_of(*options, "--weights", weights),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=environment(),
        )  # fmt: skip
        assert self.run.stdout is not None
        words = self.run.stdout.readline().split()
        assert words[:3] == ["listening", "on", "port"]
        self.port = int(words[3])

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("localhost", self.port, timeout=600)
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read().decode()

    def send(self, text: str) -> int:
        """The status that a request of any kind gets."""
        with socket.create_connection(("localhost", self.port), timeout=600) as connection:
            connection.sendall(f"{text}\r\n\r\n".encode())
            answer = connection.makefile().read()
        return int(re.findall(r"^HTTP/1.0 (\d+)|Error code: (\d+)", answer)[0][0] or 400)

    def wait(self) -> None:
        """Until the model is loaded; only then it is healthy."""
        found = set()
        while (status := self.ask("GET", "/health")[0]) != 200:
            found.add(status)
            time.sleep(0.02)
        assert found <= {503}

    def end(self) -> tuple[int, str]:
        """Exit code and stderr after SIGTERM."""
        self.run.send_signal(signal.SIGTERM)
        _, error = self.run.communicate(timeout=600)
        return self.run.returncode, error


@pytest.fixture
def server(tmp_path: Path, slow_weights: Path) -> Iterator[Server]:
    (tmp_path / "out").mkdir()
    found = Server(tmp_path, slow_weights)
    yield found
    found.run.kill()
    found.run.communicate()


def test_cases_one_after_the_other(tmp_path: Path, server: Server) -> None:
    scan, out = tmp_path / "in" / "images" / "ct" / "1.mha", tmp_path / "out"
    write_scan(scan)
    assert server.ask("POST", "/invoke")[0] in (201, 503)
    server.wait()
    assert server.ask("GET", "/health") == (200, "ready\n")

    status, text = server.ask("POST", "/invoke")
    assert (status, text) == (201, f"1 scan, results in {out}\n")
    first = read_results(out)[0]
    scan.unlink()
    write_scan(scan.with_name("2.mha"), phantom((20, 40, 48), seed=3))
    assert server.ask("POST", "/invoke", json.dumps({"any": "thing"}).encode())[0] == 201
    second = read_results(out)[0]
    assert second != first

    scan.with_name("2.mha").write_bytes(b"no image")
    status, text = server.ask("POST", "/invoke")
    assert (status, text) == (422, f"error: {scan.with_name('2.mha')}: {REASON}\n")
    assert files_below(out) == {}  # those of the case before would be taken for this one's
    scan.with_name("2.mha").unlink()
    write_scan(scan.with_name("3.mhd"), compress=False).with_suffix(".raw").unlink()
    voxels = f"expected the voxels in {scan.with_name('3.raw')}, found no such file"
    reason = f"error: {scan.with_name('3.mhd')}: {voxels}"
    assert server.ask("POST", "/invoke") == (422, f"{reason}\n")
    scan.with_name("3.mhd").unlink()
    write_scan(scan.with_name("2.mha"))
    assert server.ask("POST", "/invoke")[0] == 201
    assert read_results(out)[0] == first

    refuse = [("GET", "/", 404), ("POST", "/health", 404), ("PUT", "/invoke", 501)]
    for method, path, expected in refuse:
        assert server.ask(method, path)[0] == expected
    for text, expected in (
        ("POST /invoke HTTP/1.1\r\nContent-Length: 2000000", 413),
        ("POST /invoke HTTP/1.1\r\nContent-Length: -5", 413),
        ("hello", 400),
    ):
        assert server.send(text) == expected
    assert server.ask("GET", "/health")[0] == 200

    code, error = server.end()
    assert code == 0
    assert error.splitlines() == [f"error: {scan.with_name('2.mha')}: {REASON}", reason]


def test_a_case_of_several_scans_is_done_again_each_time(tmp_path: Path, server: Server) -> None:
    """Even if a new file has the name, the size and the time of the old one, as on mounted volumes."""
    folder, out = tmp_path / "in" / "images" / "ct", tmp_path / "out" / "images" / "ct"
    found = []
    server.wait()
    for seed in (0, 1):
        for name in ("a.mha", "b.mha"):
            os.utime(write_scan(folder / name, phantom(seed=seed), compress=False), (0, 0))
        assert server.ask("POST", "/invoke")[0] == 201
        found.append([read_results(out / name)[0] for name in "ab"])
    assert found[0][0] == found[0][1] != found[1][0] == found[1][1]
    assert server.end() == (0, "")


def test_busy_and_ended_in_the_middle(tmp_path: Path, server: Server) -> None:
    """A second case is refused while the first runs; SIGTERM breaks that off without a trace of it."""
    write_large(tmp_path / "in" / "a.mha")
    server.wait()
    answers: list[tuple[int, str]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.ask("POST", "/invoke"))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    while not answers:
        time.sleep(0.01)
    assert answers == [(409, "another case is running\n")]
    assert server.ask("GET", "/health")[0] == 200
    code, error = server.end()
    for thread in threads:
        thread.join()
    assert answers[1] == (500, "the server broke off\n")
    assert code == 128 + signal.SIGTERM
    assert last_line(error) == "error: ended by SIGTERM"
    assert files_below(tmp_path / "out") == {}


def test_a_server_that_cannot_start(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        command = command_of("--serve", "--port", taken.getsockname()[1])
        result = subprocess.run(
            command, env=environment(), capture_output=True, encoding="utf-8", check=False
        )
    assert result.returncode == 1
    assert last_line(result.stderr) == "error: Address already in use"
    (tmp_path / "empty").mkdir()
    command = command_of("--serve", "--port", 0, "--weights", tmp_path / "empty")
    result = subprocess.run(command, env=environment(), capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == 1
    reason = f"error: {tmp_path / 'empty'}: expected at least one .safetensors file, found none"
    assert last_line(result.stderr) == reason

"""What the platform would refuse is refused before the upload."""

import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from resources.upload import LABEL, main

GOOD: dict[str, Any] = {
    "os": "linux",
    "architecture": "amd64",
    "config": {"User": "user", "Labels": {LABEL: "exec"}},
}


def archive(path: Path, files: dict[str, Any]) -> Path:
    with tarfile.open(path, "w:gz") as made:
        for name, value in files.items():
            content = json.dumps(value).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return path


def saved(path: Path, config: dict[str, Any], images: int = 1) -> Path:
    """As `docker save` writes it from version 25 on."""
    entry = {"Config": "blobs/sha256/abc", "Layers": []}
    return archive(path, {"blobs/sha256/abc": config, "manifest.json": [entry] * images})


def test_a_good_image_and_its_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = saved(tmp_path / "image.tar.gz", GOOD)
    weights = archive(tmp_path / "model.tar.gz", {"a.safetensors": 1})
    assert main([str(image), str(weights)]) == 0
    out = capsys.readouterr().out
    assert "one image, linux/amd64, user user, exec" in out
    assert "a.safetensors" in out
    assert "Upload a container" in out


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": "arm64"}, "expected an image for linux/amd64, found linux/arm64"),
        ({"config": GOOD["config"] | {"User": ""}}, "expected a user that is not root, found none"),
        ({"config": GOOD["config"] | {"User": "0:0"}}, "expected a user that is not root, found 0:0"),
        ({"config": {"User": "user"}}, f"expected the label {LABEL} to be exec or invoke, found None"),
    ],
)
def test_what_the_platform_refuses(
    changes: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(saved(tmp_path / "image.tar.gz", GOOD | changes))]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_archives_that_hold_no_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(saved(tmp_path / "whole.tar.gz", GOOD).read_bytes()[:60])
    two, other = saved(tmp_path / "two.tar.gz", GOOD, images=2), archive(tmp_path / "other.tar.gz", {"a": 1})
    told = (
        (damaged, "expected an archive of `docker save`"),
        (two, "expected one image, found 2"),
        (other, "expected manifest.json of `docker save`, found none"),
    )
    for path, expected in told:
        assert main([str(path)]) == 1
        assert expected in capsys.readouterr().err
    weights = archive(tmp_path / "model.tar.gz", {"weights/a.safetensors": 1})
    assert main([str(saved(tmp_path / "image.tar.gz", GOOD)), str(weights)]) == 1
    assert "expected .safetensors files at its top, found weights/a.safetensors" in capsys.readouterr().err


def test_weights_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = archive(tmp_path / "model.tar.gz", {"a.safetensors": 1})
    assert main([str(weights)]) == 0
    assert capsys.readouterr().out.startswith(f"{weights}: a.safetensors, ")
    assert main([str(archive(tmp_path / "nested.tar.gz", {"weights/a.safetensors": 1}))]) == 1
    assert "expected .safetensors files at its top" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "python resources/upload.py IMAGE.tar.gz [MODEL.tar.gz]" in capsys.readouterr().out
    assert main(["a", "b", "c"]) == 2
    assert capsys.readouterr().err.startswith("usage: ")


@pytest.mark.parametrize("script", ["build.sh", "export.sh", "run.sh", "test.sh"])
def test_help_of_the_scripts(script: str, tmp_path: Path) -> None:
    """From any folder, and without building anything."""
    command = [Path(__file__).parents[1] / script, "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    assert f"./{script} " in done.stdout
    assert "set -euo" not in done.stdout
    assert done.stderr == ""

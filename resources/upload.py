"""The checks that grand-challenge.org makes of an uploaded image, made before the upload.

    python resources/upload.py IMAGE.tar.gz [MODEL.tar.gz]
    python resources/upload.py MODEL.tar.gz

Needs nothing but Python. The archive has to be readable, with a manifest of one image, for linux/amd64, run
by a user that is named and not root, with the label of the way it is called. The weights' archive holds
.safetensors files at its top. Prints what was found, and what is left to do by hand.
"""

from __future__ import annotations

import itertools
import json
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

LABEL = "org.grand-challenge.api-method"
METHODS = ("exec", "invoke")
HINT = """
On grand-challenge.org (docs/grand-challenge.md has every step):
  1. Your algorithm > Containers > Upload a container: {image}
  2. Your algorithm > Models > Upload a model:          {weights}
  3. Wait until both are "Ready", then make them active.
  4. Your algorithm > Try-out algorithm: one CT as .mha."""


class UploadError(ValueError):
    """An archive that the platform would refuse; the message is one line."""


def image_of(path: Path) -> dict[str, Any]:
    """The configuration of the one image in an archive of `docker save`. Raises UploadError."""
    try:
        with tarfile.open(path, "r:*") as archive:
            files = {name: _read(archive, name) for name in ("manifest.json",)}
            manifest = json.loads(files["manifest.json"])
            if len(manifest) != 1:
                raise UploadError(f"{path}: expected one image, found {len(manifest)}")
            config: dict[str, Any] = json.loads(_read(archive, manifest[0]["Config"]))
            return config
    except KeyError as error:
        raise UploadError(f"{path}: expected {error.args[0]} of `docker save`, found none") from None
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        if isinstance(error, UploadError):
            raise
        found_text = " ".join(str(error).split()) or type(error).__name__
        raise UploadError(f"{path}: expected an archive of `docker save`, found: {found_text}") from None


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    """A file of the archive. Raises KeyError where it is missing."""
    for member in archive:
        if member.name.removeprefix("./") == name:
            file = archive.extractfile(member)
            if file is not None:
                return file.read()
    raise KeyError(name)


def check_image(path: Path) -> str:
    """What the platform looks at, in a line. Raises UploadError where it would refuse the image."""
    if not path.name.endswith((".tar", ".tar.gz", ".tar.xz")):
        raise UploadError(f"{path}: expected a name that ends in .tar.gz, found {path.name}")
    image = image_of(path)
    platform = f"{image.get('os')}/{image.get('architecture')}"
    if platform != "linux/amd64":
        raise UploadError(f"{path}: expected an image for linux/amd64, found {platform}")
    config = image.get("config") or {}
    user = str(config.get("User") or "")
    if user.split(":")[0].lower() in ("", "root", "0"):
        raise UploadError(f"{path}: expected a user that is not root, found {user or 'none'}")
    method = (config.get("Labels") or {}).get(LABEL)
    if method not in METHODS:
        raise UploadError(f"{path}: expected the label {LABEL} to be {' or '.join(METHODS)}, found {method}")
    size = path.stat().st_size / 1e9
    return f"{path}: one image, {platform}, user {user}, {method}, {size:.2f} GB: as the platform wants it"


def are_weights(path: Path) -> bool:
    """Whether an archive begins with a .safetensors file, as an image does not; False if unreadable."""
    try:
        with tarfile.open(path, "r:*") as archive:
            return any(member.name.endswith(".safetensors") for member in itertools.islice(archive, 20))
    except (OSError, EOFError, zlib.error, tarfile.TarError):
        return False


def check_weights(path: Path) -> str:
    """The weights in a line. Raises UploadError where the container would not find them in /opt/ml/model."""
    try:
        with tarfile.open(path, "r:*") as archive:
            names = [member.name.removeprefix("./") for member in archive if member.isfile()]
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        found = " ".join(str(error).split()) or type(error).__name__
        raise UploadError(f"{path}: expected a .tar.gz of weights, found: {found}") from None
    if not any(name.endswith(".safetensors") and "/" not in name for name in names):
        raise UploadError(
            f"{path}: expected .safetensors files at its top, found {', '.join(names) or 'none'}"
        )
    return f"{path}: {', '.join(names)}, {path.stat().st_size / 1e6:.1f} MB"


def main(arguments: list[str]) -> int:
    """Exit code 0, or 1 with one line on stderr; 2 for other arguments than these."""
    if arguments in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if not 1 <= len(arguments) <= 2 or arguments[0].startswith("-"):
        print("usage: python resources/upload.py [IMAGE.tar.gz] [MODEL.tar.gz]", file=sys.stderr)
        return 2
    try:
        if len(arguments) == 1 and are_weights(Path(arguments[0])):
            print(check_weights(Path(arguments[0])))
            return 0
        print(check_image(Path(arguments[0])))
        if len(arguments) == 2:
            print(check_weights(Path(arguments[1])))
    except UploadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(HINT.format(image=arguments[0], weights=arguments[1] if len(arguments) == 2 else "(optional)"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

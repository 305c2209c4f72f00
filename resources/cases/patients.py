"""Splits by patient, and pseudonyms."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path
from typing import Literal

from model.files import whole
from resources.cases.strict import CaseError, refuse

Split = Literal["train", "validation", "test"]


def split_of(patient: str, validation: float, test: float) -> Split:
    """The split of a patient by a hash of the name: the same in every run and on every machine.

    validation, test: expected shares, together at most 1. Raises CaseError.
    """
    if not (0 <= validation <= 1 and 0 <= test <= 1 and validation + test <= 1):
        refuse("split", "shares of validation and test that add to at most 1", f"{validation} and {test}")
    place = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") / 2**64
    return "test" if place < test else "validation" if place < test + validation else "train"


def read_or_make_key(path: Path) -> bytes:
    """The secret key of pseudonyms; made if the file does not exist. Raises CaseError if it is none."""
    if not path.exists():
        with whole(path) as part:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32) + "\n")
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise CaseError(f"{path}: expected a key of 64 hexadecimal digits, found {len(text)} characters")
    return bytes.fromhex(text)


def pseudonym(patient: str, key: bytes) -> str:
    """HMAC-SHA256 of the name, 16 digits: without the key nobody can tell or test whose it is."""
    return "P" + hmac.new(key, patient.encode(), hashlib.sha256).hexdigest()[:16]

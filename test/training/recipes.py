"""Settings of a run in small: some values of a TOML file replaced, the rest as people use it."""

import re
from typing import Any


def replaced(text: str, changes: dict[str, Any]) -> str:
    """The text with other values for "section.key" (for keys before any section "key").

    Raises AssertionError where there is no such line: a change that does nothing would hide what was changed.
    """
    section, left, lines = "", dict(changes), []
    for line in text.splitlines():
        if header := re.fullmatch(r"\[\[?(\w+)\]\]?", line):
            section = f"{header[1]}."
        key = re.match(r"(\w+) = ", line)
        name = section + key[1] if key else ""
        if name in changes:
            left.pop(name, None)
            line = f"{key[1]} = {changes[name]!r}" if key else line
        lines.append(line)
    assert not left, f"expected lines of {', '.join(left)}, found none"
    return "\n".join(lines) + "\n"

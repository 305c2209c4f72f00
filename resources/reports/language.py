"""Which of the two languages a text is in."""

from __future__ import annotations

import re

from resources.reports.vocabulary import Tongue, vocabulary

_WORD = re.compile(r"[^\W\d_]+")
SAMPLE = 20_000
"""Characters from the start that are enough to tell."""


def detect(text: str) -> Tongue:
    """The language whose most usual words the text uses more; English where neither does."""
    counts = {"en": 0, "nl": 0}
    words = _WORD.findall(text[:SAMPLE].lower())
    for name in ("en", "nl"):
        language = vocabulary(name)
        for known in (language.common, language.headings):
            counts[name] += sum(map(known.__contains__, words))
    return "nl" if counts["nl"] > counts["en"] else "en"

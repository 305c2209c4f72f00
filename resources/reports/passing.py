"""What a sentence says in passing, and the linking of lesions leaves out: sums of diameters, histology."""

from __future__ import annotations

import re

from resources.reports.mentions import Sentence

_SUM = re.compile(
    r"[\W_]*(?:sum|som|total|totaal|evaluation|evaluatie)\b (?:of|van|der) (?:[\w-]+ ){0,4}?"
    r"(?:target|doel|diameter|longest|langste|\w*diameters?\b)|[\W_]*(?:sld|spd)\b",
    re.IGNORECASE,
)
_TISSUE = (
    r"\b(?:[\w-]{0,30}histolog\w*|histopatholog\w*|biops\w*|biopt\w*|[\w-]{0,30}cytolog\w*|bronchoscop\w*|ebus|fna"
    r"|immunohisto\w*|resectiepreparaat|specimen|weefselonderzoek"
    r"|patholog\w+ (?:onderzoek|examination|report)|pa[- ](?:onderzoek|uitslag))\b"
)
_SHOWED = (
    r"\b(?:confirm\w*|showed|reveal\w*|yielded|verified"
    r"|bevestig\w*|toonden?|liet zien|laat zien|bewees|leverde)\b"
)
_HISTOLOGY = re.compile(
    rf"{_TISSUE}(?![- ](?:proven|bewezen))[^.;]{{0,50}}?{_SHOWED}"
    rf"|\b(?:confirmed|verified|bevestigd)\b[^.;]{{0,25}}?{_TISSUE}",
    re.IGNORECASE,
)


_REGION = (
    r"(?:thorax|chest|abdomen|bovenbuik|pelvis|bekken|longen|hals|neck|brain|hersenen|trunk|total|totaal)"
)
_SCAN = re.compile(r"\bct\b", re.IGNORECASE)
_HISTORY = re.compile(
    r"[\W_]*(?:(?:the )?patient (?:has|had|is|with)(?: an?)? (?:known|history|previous|prior)\b"
    r"|(?:known (?:with|to have|case of)|bekend met|pati[eë]nte? (?:is )?bekend met|voorgeschiedenis van)\b"
    rf"|ct\b[ -]?(?:(?:{_REGION}|en|and|van|of|the|de|[/,-])[ /,-]*)+\([^()]*\)\s*$"
    rf"|(?:[\w:]+ )?ct\b[ -]?(?:(?:{_REGION}|en|and|van|of|the|de|[/,-])[ /,-]*)*:? ?"
    r"(?:i\.?v\.?m\.?|wegens|vanwege|because of|controle na|follow-?up (?:of|after)"
    r"|(?:bij|in|for|with|na|after) (?:een |an? )?(?:gekend|bekend|known|previous)\w*) )",
    re.IGNORECASE,
)
""" "The patient has known lung cancer", "CT thorax bij bekend mammacarcinoom": why the scan was made."""


PRIMARIES = (
    *(
        "cancer",
        "tumour",
        "lymphoma",
        "sarcoma",
        "GIST",
        "renal cell carcinoma",
        "lung cancer",
        "pancreatic cancer",
    ),
    *("hepatocellular carcinoma", "cholangiocarcinoma", "urothelial carcinoma", "neuroendocrine tumour"),
)


def _is_title(sentence: Sentence, text: str) -> bool:
    """ "Follow-up CT, renal cell carcinoma" as the first words of a report: the patient's disease."""
    first = not text[: sentence.start].strip() and _SCAN.search(text, sentence.start, sentence.end)
    return bool(first) and all(m.name in PRIMARIES for m in sentence.of("lesions"))


def is_aside(sentence: Sentence, text: str) -> bool:
    """Whether a sentence tells no lesion of the scan: a sum of diameters, a history, what a biopsy showed."""
    if _SUM.match(text, sentence.start, sentence.end):
        return True
    if not sentence.of("lesions") or sentence.of("size") or sentence.of("reference"):
        return False
    if _HISTORY.match(text, sentence.start, sentence.end) or _is_title(sentence, text):
        return True
    return _HISTOLOGY.search(text, sentence.start, sentence.end) is not None

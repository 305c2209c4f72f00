"""Lesion words that name one thing, and the diagnoses the text gives it."""

from __future__ import annotations

import re

from resources.reports.anatomy import Group
from resources.reports.assertion import Cues
from resources.reports.mentions import Mention, Sentence
from resources.reports.vocabulary import lesion_words

_JOIN = re.compile(r"(?:[ -]?|,? ?(?:of|van)(?: \w+){0,3} ?| ?\(|/)", re.IGNORECASE)
_TITLE = re.compile(r"[^,;.:\d\n]{0,30}:")
_ADVERB = re.compile(
    r"(?:most |very |highly )?(?:likely|probabl[ey]|possibl[ey]|perhaps|presumabl[ey]|suspected)"
    r"|(?:meest |zeer )?(?:waarschijnlijk|mogelijke?|vermoedelijke?|wrs|ws)",
    re.IGNORECASE,
)
_TYPE = re.compile(r"\b(?:type|soort|kind|aard)(?: (?:of|van))?(?: \w+)? $", re.IGNORECASE)
_IS_A = re.compile(r"^[^,;:]*(?<!there) (?:is|zijn|are) (?:an?|een) (?:[\w-]+ ){0,2}$", re.IGNORECASE)
""" "The nodule ... is a lipid-rich adenoma"."""
_BOTH = re.compile(r" (?:and|en|or|of|&) (?:[\w-]+ )?", re.IGNORECASE)
_SYNONYMS = ("nodule", "mass", "lesion", "focus", "opacity", "ground-glass opacity")
""" "Nodules and part-solid masses" are one group of lesions of several sizes."""
_LABEL = re.compile(r"[#\s]*(?:nr\.?|no\.?)?\s*\d{1,2}\s*[);,]", re.IGNORECASE)
""" "(target lesion 2)": the name of a lesion that was just measured."""
_SUSPECT = re.compile(r" (?:verdacht|suspect)", re.IGNORECASE)


def group_lesions(sentence: Sentence, cues: Cues, text: str) -> list[Group]:
    """Lesion words, joined where they name one thing, with the diagnoses that the text gives them."""
    table = lesion_words()
    groups: list[Group] = []
    for mention in sentence.of("lesions"):
        kind = table[mention.name].kind
        if (groups and mention.start < groups[-1].end) or _says_nothing(mention, sentence, cues, text):
            continue
        if groups and any(m.start < mention.start < m.end for m in cues.named("suspicious")):
            continue
        if groups and groups[-1].kind != "other" and _preferred(groups[-1], mention, cues, text):
            groups[-1].diagnoses.append(mention)
            continue
        if groups and _are_one(groups[-1], mention, text):
            groups[-1].words.append(mention)
            continue
        if _explains_before(groups, mention, kind, cues, text):
            groups[-2].diagnoses.append(mention)
            continue
        if groups and kind != "abnormality" and not _is_heading(groups[-1], sentence, cues, text):
            last = groups[-1]
            between = text[last.end : mention.start]
            same = kind != "other" and last.kind not in ("other", "abnormality")
            loose = len(between) > 2 and last.words[-1].name not in (
                "conglomerate",
                "lesion",
                "mass",
                "deposit",
                "nodule",
                "focus",
            )
            if same and not loose and len(between) < 40 and _JOIN.fullmatch(between):
                last.words.append(mention)
                if last.words[0].name != "conglomerate":
                    last.plural = last.plural or mention.plural
                last.kind = "node" if "node" in (kind, last.kind) else "lesion"
                continue
            if kind != "other" and last.kind != "other" and _diagnosis(last, mention, cues, text):
                last.diagnoses.append(mention)
                continue
        groups.append(Group([mention], kind, mention.plural))
    if len(groups) > 1 and _is_heading(groups[0], sentence, cues, text):
        return groups[1:]
    return groups


def _is_heading(group: Group, sentence: Sentence, cues: Cues, text: str) -> bool:
    """ "Pelvic lymph nodes: enlarged node in the left groin": the first words are only a heading."""
    opened = group.first - sentence.first <= 2 and not any(
        m.start < group.end for m in cues.named("abnormal", "not before")
    )
    return group.kind == "node" and opened and bool(_TITLE.match(text, group.end))


def _is_label(mention: Mention, text: str) -> bool:
    before = text[max(0, mention.start - 2) : mention.start].rstrip()[-1:]
    return before in ("(", ";", ",") and _LABEL.match(text, mention.end) is not None


def _are_one(last: Group, mention: Mention, text: str) -> bool:
    """Whether several words for lesions of one kind are joined: "nodules and masses"."""
    alike = mention.name in _SYNONYMS and all(m.name in _SYNONYMS for m in last.words)
    return bool(alike and last.plural and mention.plural and _BOTH.fullmatch(text[last.end : mention.start]))


def _explains_before(groups: list[Group], mention: Mention, kind: str, cues: Cues, text: str) -> bool:
    """Whether a word is a lesion's diagnosis, though its description lies between: "with lobed margins"."""
    if kind in ("other", "abnormality") or len(groups) < 2 or groups[-1].kind != "other":
        return False
    return groups[-2].kind in ("lesion", "node", "measured") and _diagnosis(groups[-2], mention, cues, text)


def _says_nothing(mention: Mention, sentence: Sentence, cues: Cues, text: str) -> bool:
    """Whether a lesion word names no lesion: an attribute, a label, the type of one, or what it is not."""
    return bool(
        _attributive(mention, text)
        or (mention.name == "target lesion" and _is_label(mention, text))
        or _set_aside(mention, sentence, cues)
        or _TYPE.search(text, max(sentence.start, mention.start - 25), mention.start)
    )


def _attributive(mention: Mention, text: str) -> bool:
    """ "Geen voor metastasen verdachte laesies": the word says only what kind of lesion is meant."""
    before = text[max(0, mention.start - 5) : mention.start].lower()
    return before.endswith("voor ") and bool(_SUSPECT.match(text, mention.end))


def _set_aside(mention: Mention, sentence: Sentence, cues: Cues) -> bool:
    """ "A cyst rather than a metastasis": the second is what the lesion is not."""
    opened = [m for m in cues.named("instead") if 0 <= mention.first - m.last <= 2]
    return bool(opened) and any(m.end <= opened[0].start for m in sentence.of("lesions"))


def _preferred(last: Group, mention: Mention, cues: Cues, text: str) -> bool:
    """ "..., an adenoma rather than a metastasis": what the lesion before it is."""
    chosen = any(0 <= m.first - mention.last <= 1 for m in cues.named("instead"))
    return chosen and "," in text[last.end : mention.start]


def _diagnosis(last: Group, mention: Mention, cues: Cues, text: str) -> bool:
    low = last.diagnoses[-1].end if last.diagnoses else last.end
    between = text[low : mention.start]
    if len(between) > 200 or re.search(r"\.\s+[A-Z]", between):
        return False
    said = [m for m in cues.named("likely", "perhaps before") if low <= m.start and m.end <= mention.start]
    denials = [m for m in cues.denials if low <= m.start < mention.start]
    adverb = said and _ADVERB.fullmatch(text[said[0].start : said[0].end])
    if adverb and re.search(r"\b(?:and|en)\s*$", text[low : said[0].start]):
        return False
    if said and not denials:
        return mention.first - said[-1].last <= 6
    if _IS_A.search(between) and not denials:
        return True
    question = "?" in text[mention.end : mention.end + 3] or between.endswith("?")
    question = question and (len(between) < 4 or between.endswith("?"))
    joined = last.diagnoses and re.fullmatch(r"[ ,]*(?:or|of|versus|vs\.?|dd|and/or|/)?[ ,]*", between)
    return bool(joined) or question

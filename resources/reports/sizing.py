"""Which lesion a size belongs to, and which sizes are several axes of one lesion."""

from __future__ import annotations

import re

from resources.reports.anatomy import Group
from resources.reports.assertion import Cues
from resources.reports.mentions import Mention, Sentence

_AFTER_LINK = re.compile(
    r"(?:\b(?:of|van|measuring|measures|meet|metend|to|tot|diameter|doorsnede|is|are|circa|ca|approximately|about)\b\.?"
    r"|[(:]) *$",
    re.IGNORECASE,
)
_BREAK = re.compile(r"[,;:.()]|\b(?:and|en|in|with|met|and|is|are)\b", re.IGNORECASE)
_WAS = re.compile(r"\b(?:was|were|waren)[ :]*(?:ca\.?|circa|about|approximately|nog)? *$", re.IGNORECASE)
_WITH = re.compile(r"\b(?:with|without|met|zonder)\b[^,;.]*$", re.IGNORECASE)
ATTRIBUTES = ("calcification", "hemorrhage", "scar", "margin", "component")
_LISTED = re.compile(r"\s*(?:,|,? ?(?:and|en)|/|&)\s*", re.IGNORECASE)
_FROM = re.compile(r"\b(?:from|van) $", re.IGNORECASE)
_CAME_FROM = re.compile(r"[\s,]*(?:(?:up|down) from|from|tegen)\s*", re.IGNORECASE)
"""What lies between a current size and the earlier one that follows it: "now 24 mm from 27 mm"."""
_NOW = re.compile(r"\b(?:now|currently|today|nu|thans|momenteel|heden)\b", re.IGNORECASE)
_TO = re.compile(r" ?(?:to|naar|tot|->|→)\b", re.IGNORECASE)


def mark_prior(sentence: Sentence, cues: Cues, text: str) -> None:
    """Marks the sizes that an earlier scan had: "was 16 mm", "(9 mm previously)", "from 9 to 12 mm"."""
    found = sentence.of("size")
    for index, size in enumerate(found):
        low = max(sentence.start, found[index - 1].end if index else sentence.start)
        before = text[low : size.start]
        high = found[index + 1].start if index + 1 < len(found) else sentence.end
        if _FROM.search(before) and index + 1 < len(found) and _TO.match(text, size.end):
            size.prior = True
            continue
        if index and not found[index - 1].prior and _CAME_FROM.fullmatch(before):
            size.prior = True
        if index and _is_bracketed(found[index - 1], size, text) and _NOW.search(text, sentence.start, low):
            size.prior = True
        for cue in cues.named("prior size"):
            word = text[cue.start : cue.end].lower()
            near = low <= cue.start and 0 <= size.first - cue.last <= (
                2 if word in ("was", "were", "waren") else 5
            )
            near = near and not re.search(
                r"[;]|\bnu\b|\bnow\b|\bcurrently\b|\bthans\b", text[cue.end : size.start]
            )
            strict = word not in ("was", "were", "waren") or _WAS.search(before)
            if near and strict and (index or "(" in before or _prior_alone(before, found)):
                size.prior = True
        for cue in cues.named("prior size after"):
            between = text[size.end : cue.start]
            if cue.start < high and 0 <= cue.first - size.last <= 2 and not re.search(r"[,;(]", between):
                size.prior = True
        single = index and len(size.mm) == len(found[index - 1].mm) == 1
        if single and found[index - 1].prior and low == found[index - 1].end and _LISTED.fullmatch(before):
            size.prior = True


def _is_bracketed(one: Mention, size: Mention, text: str) -> bool:
    """ "Now 64 x 38 mm (103 x 71 mm)": one of as many axes, in brackets, is of an earlier scan."""
    bare = text[one.end : size.start].strip() == "(" and text[size.end : size.end + 1] == ")"
    return bare and len(one.mm) == len(size.mm)


def _prior_alone(before: str, found: list[Mention]) -> bool:
    """A first size is an earlier one only if a later size follows: "previously 9 mm, now 12 mm"."""
    return len(found) > 1 or bool(re.search(r"\b(?:previously|voorheen|eerder|was)\b", before, re.IGNORECASE))


def assign(
    sentence: Sentence, groups: list[Group], text: str
) -> tuple[dict[int, list[Mention]], list[Mention]]:
    """Sizes by index of the group they belong to, and those of no group. Earlier sizes are left out."""
    owned: dict[int, list[Mention]] = {}
    free: list[Mention] = []
    near = sentence.of("assertion", "near")
    for size in sentence.of("size"):
        index = _owner(size, groups, text, near)
        if size.prior:
            continue
        if index is None:
            free.append(size)
        else:
            owned.setdefault(index, []).append(size)
    return owned, free


def is_attribute(group: Group, text: str) -> bool:
    """Whether a word only describes the lesion before it: "with central calcification"."""
    one = group.words[0].name == "margin" and not group.plural  # "with a margin of 5 mm"
    return (
        group.words[0].name in ATTRIBUTES
        and not one
        and _WITH.search(text[max(0, group.start - 30) : group.start]) is not None
    )


def _owner(size: Mention, groups: list[Group], text: str, near: list[Mention]) -> int | None:
    before = [i for i, g in enumerate(groups) if g.end <= size.start]
    if len(before) > 1 and groups[before[-1]].kind == "other" and groups[before[-2]].kind != "other":
        touched = any(0 <= groups[before[-1]].first - m.last <= 1 for m in near)  # "abuts the aortic arch"
        before = before[:-1] if touched else before
    if len(before) > 1 and is_attribute(groups[before[-1]], text) and groups[before[-2]].kind != "other":
        before.pop()
    after = [i for i, g in enumerate(groups) if g.start >= size.end]
    if after:
        group = groups[after[0]]
        between = text[size.end : group.start]
        linked = before and _AFTER_LINK.search(text[groups[before[-1]].end : size.start])
        if group.first - size.last <= 6 and not _BREAK.search(between) and not linked:
            return after[0]
    if before:
        return before[-1]
    return after[0] if after else None


def join_axes(found: list[Mention], cues: Cues, text: str) -> list[list[Mention]]:
    """Sizes that are axes of one lesion together: "long axis 23 mm, short axis 14 mm"."""
    axes = cues.named("short axis", "long axis")
    joined: list[list[Mention]] = []
    for index, size in enumerate(found):
        high = found[index + 1].start if index + 1 < len(found) else size.end + 30
        low = found[index - 1].end if index else size.start
        own = [
            m
            for m in axes
            if low <= m.start < size.start or (size.end <= m.start < high and m.start - size.end < 12)
        ]
        own = [m for m in own if "," not in text[size.end : m.start] and "." not in text[size.end : m.start]]
        between = text[low : size.start]
        near = not re.search("[(;]", between) and len(between) < 45
        if index and own and near and sum(len(s.mm) for s in joined[-1]) + len(size.mm) <= 3:
            joined[-1].append(size)
        else:
            joined.append([size])
    return joined


def diameters(found: list[Mention]) -> tuple[float, ...]:
    return tuple(value for size in found for value in size.mm)[:3]

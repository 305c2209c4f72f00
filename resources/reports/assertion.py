"""Whether a lesion is there, when, and of what kind: ConText's rules (Harkema et al. 2009) in two languages.

A cue acts on the lesion words in its scope: to the right ("no ...") or to the left ("... not seen") of it,
as far as a word that ends the scope, or a distance in tokens.
"""

from __future__ import annotations

import re
from typing import Literal

from resources.reports.anatomy import Group
from resources.reports.mentions import Mention, Sentence
from resources.reports.vocabulary import lesion_words

BEFORE, AFTER, NEAR = 14, 9, 5
"""Reach in tokens: of a denial to its right, to its left, and of cues of doubt or character."""

_TITLED = re.compile(r"[^,;.:\d\n]{0,30}:\s*")
""" "Pelvic nodes: none enlarged": what lies between the word of a title and the denial."""
_THEN = re.compile(
    r"\s*(?:before|earlier|previously|voorheen|eerder|destijds|toen)\b|\s*(?:yet|nog|on|op|at|bij|in)\b[^.;,]{0,25}"
    r"(?:\d{4}|\b(?:previous|prior|earlier|last|vorige?|eerdere?|voorgaande?|oude?)\b)",
    re.IGNORECASE,
)
""" "Not present on the prior study": it is new."""
_THEN_BEFORE = re.compile(
    r"\b(?:previously|formerly|earlier|eerder|voorheen|destijds|toen|vorige? \w+|\d{4})(?: nog| still)? $",
    re.IGNORECASE,
)
_OF = re.compile(
    r"\s*(?:of|in|within|at|on|to|for|between|compared|along|van|binnen|op|bij|ten|t\.o\.v|der|met|with"
    r"|(?:en|and|but|maar) (?:het|de|een|the|an?|er|there))\b",
    re.IGNORECASE,
)
_OTHER_KIND = re.compile(
    r"\b(?:acute|acuut|emergent|traumatic|traumatische|occlusive|obstructive|obstructing|stenosing|infectious"
    r"|inflammatory|isch[ae]*emic|occlusieve|obstructieve|obstruerende?|stenoserende?|infectieuze|inflammatoire"
    r"|isch[ae]*emische)\b",
    re.IGNORECASE,
)
_NO_MORE = re.compile(r"\s+(?:meer|any ?more|any longer)\b", re.IGNORECASE)
""" "Geen klieren meer": there were some."""
_NEITHER = re.compile(r"neither|nor|noch|evenmin", re.IGNORECASE)
_VERB = re.compile(r"shows?|demonstrates?|contains?|has|have|toont|tonen|bevat", re.IGNORECASE)
_ANSWERED = re.compile(r"[:(]\s*$")
_ANSWER_ENDS = re.compile(r"\s*(?:$|[).,;|/])")

Presence = Literal["present", "absent", "uncertain"]


class Cues:
    """The cues of one sentence, less those that lie inside another that undoes them ("no change")."""

    def __init__(self, sentence: Sentence, text: str) -> None:
        self.text = text
        self.all = sentence.of("assertion")
        self.by_name: dict[str, list[Mention]] = {}
        for mention in self.all:
            self.by_name.setdefault(mention.name, []).append(mention)
        undone = [m for m in self.all if m.name in ("not pseudo", "resolved", "benign", "new")]
        before = [m for m in self.named("not before") if not _covered(m, undone)]
        answers = [m for m in before if self._is_answer(m, sentence.end)]
        self.denials = [m for m in before if m not in answers]
        self.denials += [m for m in self.named("new") if _starts_no(m, text)]
        self.late_denials = [m for m in self.named("not after") if not _covered(m, undone, proper=True)]
        self.late_denials = sorted(self.late_denials + answers, key=lambda m: m.start)
        self.stops = self.named("stop")

    def _is_answer(self, cue: Mention, end: int) -> bool:
        """ "Bone metastases: no", "(absent)": a denial of what stands before it."""
        before = _ANSWERED.search(self.text, max(0, cue.start - 3), cue.start)
        return before is not None and _ANSWER_ENDS.match(self.text[cue.end : end]) is not None

    def named(self, *names: str) -> list[Mention]:
        """The cues of these names, in order; not to be changed."""
        if len(names) == 1:
            return self.by_name.get(names[0], [])
        return [m for m in self.all if m.name in names] if any(n in self.by_name for n in names) else []

    def stopped(self, start: int, end: int) -> bool:
        """Whether something between two tokens ends a cue's scope."""
        return any(start <= m.first and m.last <= end for m in self.stops)

    def before(self, group: Group, reach: int, *names: str) -> list[Mention]:
        """Cues that end at most `reach` tokens before the group, nothing ending their scope."""
        first = group.first
        return [
            m for m in self.named(*names) if 0 <= first - m.last <= reach and not self.stopped(m.last, first)
        ]

    def after(self, group: Group, reach: int, *names: str) -> list[Mention]:
        last = group.last
        return [
            m for m in self.named(*names) if 0 <= m.first - last <= reach and not self.stopped(last, m.first)
        ]


def _covered(mention: Mention, others: list[Mention], proper: bool = False) -> bool:
    return any(
        o.start <= mention.start
        and mention.end <= o.end
        and (not proper or o.end - o.start > mention.end - mention.start)
        for o in others
    )


def denied(group: Group, groups: list[Group], cues: Cues, sized: bool) -> bool | None:
    """True: the text says it is not there. None: it says only that there is no other or new one."""
    for cue in cues.denials:
        if _reaches(cue, group, groups, cues, sized) and not _of_quality(cue, group, cues):
            return None if _only_new(cue, group, cues) or _of_other_kind(cue, group, cues) else True
    if group.kind == "node" and any(
        _TITLED.fullmatch(cues.text, group.end, m.start) for m in cues.denials + cues.late_denials
    ):
        return True
    if any(_reaches_back(cue, group, groups, cues) for cue in cues.late_denials):
        return None if any(0 <= group.first - m.last <= 1 for m in cues.named("new")) else True
    return False


def _reaches(cue: Mention, group: Group, groups: list[Group], cues: Cues, sized: bool) -> bool:
    """Whether a denial's scope holds a group to its right."""
    gap = group.first - cue.last
    shared = gap < 0 and cue.first < group.first < cue.last <= group.last  # "no suspicious findings"
    stopped = cues.stopped(cue.last, group.first) and not _neither(cue, group, cues)
    if not (shared or 0 <= gap <= BEFORE) or stopped:
        return False
    between = cues.text[cue.end : group.start]
    others = any(cue.end <= g.start < group.start for g in groups if g is not group)
    return not (";" in between or ": " in between or (sized and others and "," in between))


def _neither(cue: Mention, group: Group, cues: Cues) -> bool:
    """ "Neither liver nor spleen shows lesions": the verb does not end this denial."""
    if not _NEITHER.match(cues.text, cue.start, cue.end):
        return False
    return all(
        _VERB.fullmatch(cues.text, m.start, m.end) for m in cues.stops if cue.last <= m.first < group.first
    )


def _reaches_back(cue: Mention, group: Group, groups: list[Group], cues: Cues) -> bool:
    """Whether a denial's scope holds a group to its left: "... not seen"."""
    between = cues.text[group.end : cue.start]
    crossed = any(group.end <= g.start < cue.start and g.kind != "other" for g in groups) and "," in between
    return (
        0 <= cue.first - group.last <= AFTER
        and not crossed
        and ";" not in between
        and not cues.stopped(group.last, cue.first)
        and not _THEN.match(cues.text, cue.end)
        and not _THEN_BEFORE.search(cues.text, max(0, cue.start - 30), cue.start)
    )


def _of_quality(cue: Mention, group: Group, cues: Cues) -> bool:
    """ "No growth of the nodule": the denial is of a quality, not of the lesion that has it."""
    return any(
        cue.last <= m.first
        and m.last <= group.first
        and (
            group.kind != "node" or not cues.text[m.start : m.end].lower().startswith(("enlarge", "vergrot"))
        )
        and _OF.match(cues.text, m.end, group.start) is not None
        for m in cues.named("quality")
    )


def _of_other_kind(cue: Mention, group: Group, cues: Cues) -> bool:
    """ "No acute abnormality", "no obstructing lesion" say nothing of other lesions."""
    vague = group.kind == "abnormality" or group.words[0].name == "lesion"
    return vague and bool(_OTHER_KIND.search(cues.text, cue.start, group.end))


def _only_new(cue: Mention, group: Group, cues: Cues) -> bool:
    if cue.name == "new":
        return True
    return any(
        cue.last <= m.first
        and m.last <= group.first
        and (group.first - m.last <= 3 or m.first - cue.last <= 1)
        for m in cues.named("new")
    )


def _starts_no(mention: Mention, text: str) -> bool:
    return text[mention.start : mention.end].lower().startswith(("no ", "geen "))


def resolved(group: Group, groups: list[Group], cues: Cues) -> bool:
    if _NO_MORE.match(cues.text, group.end) and any(
        _reaches(cue, group, groups, cues, False) for cue in cues.denials
    ):
        return True
    far = [m for m in cues.after(group, BEFORE + 10, "resolved") if not _between(group.end, m.start, groups)]
    return bool(far or cues.after(group, BEFORE, "resolved") or cues.before(group, NEAR, "resolved"))


def prior(group: Group, cues: Cues) -> bool:
    return bool(cues.before(group, NEAR, "prior"))


def doubted(group: Group, groups: list[Group], cues: Cues, sentence_end: int) -> bool:
    """Whether its presence is in doubt: "possible", "not excluded", or a question mark behind it."""
    close = [
        m for m in cues.before(group, NEAR, "perhaps before") if "," not in cues.text[m.end : group.start]
    ]
    if close or cues.after(group, NEAR, "perhaps after"):
        return True
    later = [g.start for g in groups if g.start >= group.end]
    stop = min([*later, sentence_end])
    tail = cues.text[group.end : stop]
    return "?" in tail and "," not in tail[: tail.index("?")] and tail.index("?") < 40


def character(group: Group, groups: list[Group], cues: Cues, doubtful: bool) -> str:
    """suspicious, indeterminate or benign: by a diagnosis, by a cue, or by the word itself."""
    table = lesion_words()
    said = [table[m.name].character for m in group.diagnoses]
    if any(said):
        found = next(c for c in said if c)
        return "indeterminate" if found == "benign" and doubtful else found
    if any(_metastatic(m, cues.text) for m in group.diagnoses):
        return "suspicious"
    nodes = [m for m in group.diagnoses if table[m.name].kind == "node"]
    if nodes:
        return "benign"
    for name in ("benign", "suspicious"):
        reach = 8 if group.kind == "node" else 4
        later = BEFORE if name == "benign" else AFTER
        near = [m for m in cues.before(group, reach, name) if not _between(m.end, group.start, groups)]
        near += [m for m in cues.after(group, later, name) if not _of_next(group, m, groups)]
        near += [m for m in cues.named(name) if m.start < group.end and m.end > group.start]
        near = [m for m in near if name == "benign" or not _negated(m, cues)]
        if near:
            return name
    if any(_metastatic(m, cues.text) for m in group.words):
        return "suspicious"
    words = [table[m.name].character for m in group.words]
    return next((c for c in words if c), "indeterminate")


def _metastatic(mention: Mention, text: str) -> bool:
    return "metasta" in text[mention.start : mention.end].lower()


def _of_next(group: Group, cue: Mention, groups: list[Group]) -> bool:
    """Whether a cue behind a group speaks of the next: "nodes and a suspicious lesion"."""
    return _between(group.end, cue.start, groups) or any(
        g is not group and 0 <= g.first - cue.last <= 1 for g in groups
    )


def _between(start: int, end: int, groups: list[Group]) -> bool:
    return any(start <= g.start < end for g in groups)


def _negated(mention: Mention, cues: Cues) -> bool:
    return any(0 <= mention.first - d.last <= 3 for d in cues.denials) or any(
        b.start < mention.end and b.end > mention.start for b in cues.named("benign")
    )


def abnormal(group: Group, cues: Cues) -> bool:
    """Whether a lymph node is said to be more than a lymph node."""
    if cues.before(group, 6, "abnormal") or cues.after(group, 6, "abnormal"):
        return True
    if any(_metastatic(m, cues.text) for m in group.words):
        return True
    return any(m.start < group.end and m.end > group.start for m in cues.named("abnormal", "suspicious"))

"""Tokens of a text, where its sentences start, and the phrases among them. The tokens are spaCy's.

spaCy divides a text at its blanks and then each piece on its own, so that what it made of a piece is
remembered: reports repeat their words, and that is faster than to make a spaCy document of each.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.pipeline import Sentencizer

REMEMBERED = 50_000
"""Pieces kept; beyond, all are forgotten."""
_PIECE = re.compile(r" {2,}|^ |[^ ]+")
"""A single blank belongs to the word before it, and so does the first of several."""
_ENDS = frozenset(Sentencizer.default_punct_chars)
_END = ""
"""The key of the phrases that end at a node of their tree; no token is empty."""


class Token(NamedTuple):
    """A token of a piece. start: offset in it. mark: "end" of a sentence, "punctuation" or nothing."""

    text: str
    lower: str
    start: int
    mark: str


@dataclasses.dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a text: as they stand, in lower case, by offset; sentences: the first token of each."""

    texts: list[str]
    lower: list[str]
    starts: list[int]
    sentences: set[int]


class Tokenizer:
    """spaCy's tokenizer of one language, which remembers what it made of each piece between blanks."""

    def __init__(self, nlp: Language) -> None:
        self._nlp = nlp
        self._known: dict[str, tuple[Token, ...]] = {}

    def __call__(self, text: str) -> Tokens:
        """The tokens of a text whose only blanks are spaces."""
        texts: list[str] = []
        lower: list[str] = []
        starts: list[int] = []
        sentences: set[int] = set()
        ended = False
        pieces = []
        for match in _PIECE.finditer(text):
            at, piece = match.start(), match.group()
            if piece[0] == " " and at:
                at, piece = at + 1, piece[1:]
            pieces.append((at, piece))
        if len(self._known) > REMEMBERED:
            self._known.clear()
        self._learn({piece for _, piece in pieces} - self._known.keys())
        known = self._known
        for at, piece in pieces:
            for word, small, start, mark in known[piece]:
                if mark == "end":
                    ended = True
                elif ended and not mark:
                    sentences.add(len(texts))
                    ended = False
                texts.append(word)
                lower.append(small)
                starts.append(at + start)
        if texts:
            sentences.add(0)
        return Tokens(texts, lower, starts, sentences)

    def _learn(self, pieces: set[str]) -> None:
        if not pieces:
            return
        words = sorted(piece for piece in pieces if piece[0] != " ")
        with self._nlp.memory_zone():  # the pipeline forgets the words
            self._divide(words)
            for blanks in pieces - set(words):
                self._divide([blanks])

    def _divide(self, pieces: list[str]) -> None:
        """Learns pieces from one document of all of them: spaCy divides it at their blanks anyway."""
        doc = iter(self._nlp.make_doc(" ".join(pieces)))
        token, at = next(doc, None), 0
        for piece in pieces:
            end, found = at + len(piece), []
            while token is not None and token.idx < end:
                found.append(Token(token.text, token.lower_, token.idx - at, _mark(token.text)))
                token = next(doc, None)
            self._known[piece] = tuple(found)
            at = end + 1


def _mark(token: str) -> str:
    if token in _ENDS:
        return "end"
    return "punctuation" if all(unicodedata.category(c).startswith("P") for c in token) else ""


class Phrases:
    """Phrases of one or more tokens, found wherever they stand, overlapping ones too."""

    def __init__(self) -> None:
        self._root: dict[str, Any] = {}

    def add(self, name: str, forms: Iterable[Sequence[str]]) -> None:
        """Adds a phrase by the tokens, in lower case, of each form in which it is written."""
        for form in {tuple(form) for form in forms}:
            node = self._root
            for word in form:
                node = node.setdefault(word, {})
            node.setdefault(_END, []).append(name)

    def find(self, lower: Sequence[str]) -> list[tuple[str, int, int]]:
        """(name, first token, last token excluded) of every phrase among the tokens."""
        found = []
        root, total = self._root, len(lower)
        for first, word in enumerate(lower):
            node, last = root.get(word), first + 1
            while node:
                if _END in node:
                    found += [(name, first, last) for name in node[_END]]
                node = node.get(lower[last]) if last < total else None
                last += 1
        return found

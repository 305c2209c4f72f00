"""Long fuzzing of the reader, apart from the tests: python test/reports/fuzz.py --minutes 60 --seed 1

Texts are random mixtures of vocabulary, numbers, punctuation, markup, Unicode and mutated own sentences.
Printed is any exception, any span outside the text, and any reading slower than 1 s of CPU time per 10,000
characters.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from test_findings import ASSERTION, LINKING, SIZES  # noqa: E402

from resources.reports.reader import read_report  # noqa: E402
from resources.reports.vocabulary import FOLDER, read_terms  # noqa: E402

NUMBERS = "0 1 12 3,5 2.3 999 4-6 12x9 x mm cm MM -mm (3-86) (se 4 im 57) IMA 8-34 2020-03-05"
MARKS = "' \" ( ) [ ] { } < > & / \\ . , ; : ? ! - – * • _ # ```"
MARKUP = "<p> </p> <br> <td> &nbsp; &lt; &#x41; &#xD800; &#99999999; <div class='x'> <!-- -->"
ODD = [*"\n\r\t\f\v\x00\x1b\ufeff\u200b\u00a0\u2028\U0001f600\ud800İßǄﬁé", "\n\n", "\r\n", " "]
WORDS = [word for path in sorted((FOLDER / "terms").rglob("*.txt")) for _, word, _ in read_terms(path)]
PARTS = [*WORDS, *NUMBERS.split(), *MARKS.split(), *MARKUP.split(), *ODD]
SENTENCES = [row[1] for row in SIZES + ASSERTION + LINKING]


def text(draw: random.Random) -> str:
    """A random text of one of five kinds."""
    kind = draw.randrange(5)
    if kind == 0:
        return draw.choice(["", " ", "\n"]).join(draw.choices(PARTS, k=draw.randrange(200)))
    if kind == 1:
        return "".join(chr(draw.randrange(0x110000)) for _ in range(draw.randrange(300)))
    if kind == 2:
        return draw.choice(PARTS) * draw.randrange(1, 3000)
    joined = draw.choice([" ", "\n", "\r\n", "", "\n\n"]).join(
        draw.choices(SENTENCES, k=draw.randrange(1, 12))
    )
    letters = list(joined)
    for _ in range(draw.randrange(12)):
        at = draw.randrange(len(letters) + 1)
        letters[at : at + draw.randrange(4)] = draw.choice([[], [draw.choice(PARTS)], letters[:20]])
    changed = "".join(letters)
    return draw.choice([changed, changed.upper(), changed.replace(".", ""), changed.replace(" ", "  ")])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of CPU time")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    read_report("liver lever", "en"), read_report("liver lever", "nl")
    start = time.process_time()
    texts = characters = findings = bad = 0
    while time.process_time() - start < 60 * arguments.minutes:
        sample = text(draw)
        began = time.process_time()
        try:
            found = read_report(sample, draw.choice(["auto", "en", "nl"]))
            wrong = [f.span for f in found if not 0 <= f.span[0] <= f.span[1] <= len(sample)]
        except Exception as error:  # noqa: BLE001 (this is what fuzzing looks for)
            found, wrong = [], [repr(error)]
        if time.process_time() - began > 1 + len(sample) / 10_000:
            wrong.append("slow")
        if wrong:
            bad += 1
            print(f"{wrong}: {sample[:3000]!r}", flush=True)
        texts, characters, findings = texts + 1, characters + len(sample), findings + len(found)
    minutes = (time.process_time() - start) / 60
    print(
        f"{minutes:.1f} minutes of CPU, {texts} texts, {characters} characters, "
        f"{findings} findings, {bad} failures"
    )
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())

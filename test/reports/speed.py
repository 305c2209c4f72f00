"""How fast the reader is, in CPU time of one process: python test/reports/speed.py [FOLDER ...]

Read are the reports of the folders (the own ones without any) and 240 synthetic ones, each for the first time
after the vocabularies are loaded, and again; then one text of twice, four and eight times the length.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from resources.reports.reader import read_report  # noqa: E402
from resources.study.read_back import LANGUAGES  # noqa: E402
from resources.synthetic.report_writer import sample_report  # noqa: E402

WORDS = 300


def rate(texts: Sequence[str]) -> float:
    """Reports of 300 words per second."""
    began = time.process_time()
    for text in texts:
        read_report(text)
    return sum(len(text.split()) for text in texts) / WORDS / (time.process_time() - began)


def main() -> None:
    folders = [Path(name) for name in sys.argv[1:]] or [HERE / "own"]
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".txt", ".md"))
    given = [path.read_text(encoding="utf-8") for path in files]
    written = [
        sample_report(language, site, number)[1].text
        for site in "AB"
        for language in LANGUAGES
        for number in range(60)
    ]
    read_report("liver", "en"), read_report("lever", "nl")
    for title, texts in ((f"{len(given)} given reports", given), ("240 synthetic reports", written)):
        first, again = rate(texts), max(rate(texts) for _ in range(5))
        print(f"{title}: {first:.0f} of {WORDS} words per second at first, {again:.0f} again")
    for times in (1, 2, 4, 8):
        text = "\n\n".join(written[: 10 * times])
        seconds = len(text.split()) / WORDS / max(rate([text]) for _ in range(3))
        print(f"one text of {len(text.split())} words: {seconds:.3f} s")


if __name__ == "__main__":
    main()

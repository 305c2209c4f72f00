"""How a report was read, for people: the text in colours, and what each part became."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from resources.cases.case import Finding
from resources.reports.reader import Reading

COLOURS = {
    "lesions": "bold red",
    "places": "green",
    "side": "cyan",
    "size": "bold yellow",
    "count": "magenta",
    "reference": "blue",
    "assertion": "bright_black",
}


def coloured(reading: Reading, text: str) -> Text:
    """The report with its mentions coloured by category, those of a finding's span underlined."""
    result = Text(text)
    for sentence in reading.sentences:
        for mention in sentence.mentions:
            result.stylize(COLOURS[mention.category], *reading.text.span(mention.start, mention.end))
    for finding in reading.findings:
        result.stylize("underline", *finding.span)
    return result


def legend() -> Text:
    return Text("  ").join(Text(name, style) for name, style in COLOURS.items())


def table(findings: list[Finding], text: str) -> Table:
    """One row a finding, in the order of the text."""
    result = Table("words", "presence", "type", "organ", "side", "count", "mm", "image", "time", "character")
    for f in findings:
        start, end = f.span
        images = ",".join(str(i) for i in f.images)
        result.add_row(
            Text(" ".join(text[start:end].split())[:60]),
            f.presence,
            f.type or "",
            f.organ or "",
            f.side or "",
            str(f.count or ""),
            " x ".join(f"{mm:g}" for mm in f.sizes_mm),
            f"{f.series or ''}:{images}" if images else "",
            f.time,
            f.character,
        )
    return result

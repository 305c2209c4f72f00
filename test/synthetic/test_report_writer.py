import dataclasses
import json
import math
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.synthetic import report_writer
from resources.synthetic.report_phrases import Language, ReportError, Speaker, phrases, tidy
from resources.synthetic.report_plan import STYLES, subject_of
from resources.synthetic.report_sampler import sample_scan
from resources.synthetic.report_writer import Report, main, sample_report, write_report
from resources.synthetic.truth import TrueLesion, TrueScan

ROOT = Path(__file__).parents[2]
LESION = TrueLesion(
    1, "liver", "liver", None, "segment 7", (0.0, 0.0, 0.0), 23.0, 18.0, 20.0, "hypodense", -45.0, "lesion"
)
KINDS = [(language, site) for language in ("en", "nl") for site in ("A", "B")]
Sample = list[tuple[TrueScan, Report]]


@pytest.fixture(scope="module")
def samples() -> dict[tuple[str, str], Sample]:
    return {(lang, site): [sample_report(lang, site, seed) for seed in range(400)] for lang, site in KINDS}  # type: ignore[arg-type]


def every(samples: dict[tuple[str, str], Sample]) -> Iterator[tuple[TrueScan, Report]]:
    for reports in samples.values():
        yield from reports


def numbers_with_unit(text: str) -> set[float]:
    """All diameters of a text in mm, found in another way than they were written."""
    found = set()
    chain = r"\d+(?:[.,]\d+)?"
    for match in re.finditer(rf"{chain}(?:\s*(?:mm|cm)?\s*(?:x|by|bij)\s*{chain})*\s*(mm|cm)\b", text):
        factor = 10 if match[1] == "cm" else 1
        found |= {round(float(n.replace(",", ".")) * factor, 1) for n in re.findall(chain, match[0])}
    return found


def test_spans_hold_what_the_findings_say(samples: dict[tuple[str, str], Sample]) -> None:
    told = 0
    for _, report in every(samples):
        for mention in report.mentions:
            finding = mention.finding
            said = report.text[slice(*finding.span)]
            assert said == said.strip() != ""
            assert {round(mm, 1) for mm in finding.sizes_mm} <= numbers_with_unit(said)
            assert all(re.search(rf"\b{image}\b", said) for image in finding.images)
            assert finding.series is None or re.search(rf"\b{finding.series}\b", said)
            assert finding.language == report.language
            told += bool(finding.sizes_mm)
    assert told > 500


def test_findings_agree_with_the_truth(samples: dict[tuple[str, str], Sample]) -> None:
    for scan, report in every(samples):
        truth = {lesion.label: lesion for lesion in scan.lesions}
        for mention in report.mentions:
            finding, lesions = mention.finding, [truth[label] for label in mention.lesions]
            if finding.presence == "absent":
                ill = [m for m in scan.lesions if m.status != "benign"]
                if finding.organ is not None:
                    subject = "bone" if finding.organ == "bone" else None
                    ill = [
                        m
                        for m in ill
                        if (subject_of(m) == "bone" if subject else m.organ == finding.organ)
                        and (m.type == finding.type)
                    ]
                assert {m.label for m in ill} == set(mention.lesions)
                assert bool(ill) == ("overlooked" in mention.errors)
                continue
            if finding.time == "resolved":
                assert not lesions
                continue
            assert lesions
            assert {m.type for m in lesions} == {finding.type}
            assert (finding.presence == "uncertain") == (lesions[0].status == "doubtful")
            assert finding.character != "benign" or {m.status for m in lesions} == {"benign"}
            assert finding.character != "suspicious" or {m.status for m in lesions} == {"lesion"}
            if isinstance(finding.count, int):
                assert finding.count == len(lesions)
            else:
                assert len(lesions) > 1
            sides = {m.side for m in lesions}
            assert finding.side in (None, *sides) or (finding.side == "both" and sides == {"left", "right"})
            if finding.organ not in ("bone", "soft tissue", "mediastinum", "lymph node", None):
                assert {m.organ for m in lesions} == {finding.organ}
            if finding.time == "current" and "size" not in mention.errors and finding.sizes_mm:
                check_sizes(finding.sizes_mm, max(lesions, key=lambda m: m.long_mm))


def test_wording_fits_the_scan(samples: dict[tuple[str, str], Sample]) -> None:
    """What reading twenty reports showed to be wrong."""
    for scan, report in every(samples):
        assert not re.search(r"\ba (enlarged|osteo|ind|exo|ens)", report.text)
        truth = {lesion.label: lesion for lesion in scan.lesions}
        for mention in report.mentions:
            said = report.text[slice(*mention.finding.span)].replace("\n", " ").lower()
            small = [truth[n].organ == "lymph node" and truth[n].short_mm < 9 for n in mention.lesions]
            if small and all(small) and mention.finding.character == "indeterminate":
                assert "enlarged" not in said
                assert "vergrote" not in said


@pytest.mark.parametrize(("language", "words"), [("en", "upper abdomen"), ("nl", "bovenbuik")])
def test_technique_names_the_part_that_was_scanned(language: Language, words: str) -> None:
    scan = TrueScan((LESION,), ("spleen",), {"coverage": "upper abdomen", "phase": "none"})
    for seed in range(10):
        text = write_report(scan, language, "A", seed).text.replace("\n", " ")
        start = text.index("Techni")
        technique = text.lower()[start : text.index({"en": "Findings:", "nl": "Verslag:"}[language])]
        assert words in technique
        assert "chest" not in technique
        assert "thorax" not in technique


def check_sizes(told: tuple[float, ...], lesion: TrueLesion) -> None:
    true: tuple[float, ...] = (lesion.long_mm, lesion.short_mm, lesion.z_extent_mm)
    if lesion.organ == "lymph node" and len(told) == 1:
        true = (lesion.short_mm, lesion.long_mm)
    for mm, nominal in zip(told, true, strict=False):
        assert abs(mm - nominal) <= 0.51 + 0.25 * nominal  # rounding, and five standard deviations


def test_every_lesion_is_told_once_or_omitted(samples: dict[tuple[str, str], Sample]) -> None:
    for scan, report in every(samples):
        told = [
            label
            for m in report.mentions
            if not m.optional and m.finding.presence != "absent"
            for label in m.lesions
        ]
        assert len(told) == len(set(told))
        assert sorted([*told, *report.omitted]) == [lesion.label for lesion in scan.lesions]


@pytest.mark.parametrize("site", ["A", "B"])
def test_rates_are_the_site_s(samples: dict[tuple[str, str], Sample], site: str) -> None:
    style = STYLES[site]
    both = [*samples["en", site], *samples["nl", site]]
    large = [(m, r) for s, r in both for m in s.lesions if m.status == "lesion" and m.long_mm >= 8]
    omitted = sum(m.label in r.omitted for m, r in large) / len(large)
    assert omitted == pytest.approx(style.omit, abs=0.03)
    main = [m for _, r in both for m in r.mentions if m.lesions and not m.optional]
    main = [m for m in main if m.finding.presence != "absent"]
    sized = [m for m in main if m.finding.sizes_mm]
    assert len(sized) / len(main) == pytest.approx(style.sized, abs=0.1)  # lists give all sizes
    wrong = sum("size" in m.errors for m in sized) / len(sized)
    assert wrong == pytest.approx(style.size_error, abs=0.012)
    said = [
        r.text[slice(*m.finding.span)]
        for _, r in both
        for m in r.mentions
        if m.finding.sizes_mm and m.finding.time == "current"
    ]
    cm = sum("cm" in text for text in said) / len(said)
    assert cm == pytest.approx(style.cm, abs=0.08)


def test_what_reports_must_offer(samples: dict[tuple[str, str], Sample]) -> None:
    """Each trait of a finding occurs in each language and style."""
    for (language, site), reports in samples.items():
        findings = [m.finding for _, r in reports for m in r.mentions]
        assert {f.presence for f in findings} == {"present", "absent", "uncertain"}
        assert {f.time for f in findings} == {"current", "prior", "resolved"}
        assert {f.character for f in findings} == {"suspicious", "indeterminate", "benign"}
        assert {f.side for f in findings} >= {None, "left", "right", "both"}
        assert {f.count for f in findings} >= {None, 1, 2, 3, "several"}
        assert {len(f.sizes_mm) for f in findings} == {0, 1, 2, 3}
        assert any(f.series and f.images for f in findings)
        assert len({r.text for _, r in reports}) == len(reports), (language, site)


def test_texts_are_clean_and_in_their_language(samples: dict[tuple[str, str], Sample]) -> None:
    foreign = {"en": r"\b(de|het|een|van|geen|lever)\b", "nl": r"\b(the|and|with|no|liver|lungs)\b"}
    decimal = {"en": r"\d,\d+ ?[cm]m", "nl": r"\d\.\d+ ?[cm]m"}
    for (language, site), reports in samples.items():
        for _, report in reports:
            assert not re.search(r"[{}\ue000\ue001]|  |\.\.| [,.;]|, ,|,\.|\(\s|\bNone\b", report.text)
            assert not re.search(foreign[language], report.text)
            assert not re.search(decimal[language], report.text)
            if STYLES[site].wrap:
                assert max(len(line) for line in report.text.splitlines()) <= STYLES[site].wrap


def test_without_contrast_nothing_enhances() -> None:
    lesion = dataclasses.replace(LESION, texture="ring-enhancing")
    plain, given = (TrueScan((lesion,), ("liver",), {"phase": phase}) for phase in ("none", "portal"))
    words = r"\benhanc|vascular|aankleur|portal|portoven"
    for scan, expected in ((plain, False), (given, True)):
        for language in ("en", "nl"):
            texts = [write_report(scan, language, "A", seed).text for seed in range(40)]
            assert any(re.search(words, text) for text in texts) == expected


def test_same_seed_same_report() -> None:
    assert sample_report("nl", "A", 4) == sample_report("nl", "A", 4)
    assert sample_report("nl", "A", 4)[1].text != sample_report("nl", "A", 5)[1].text


def test_without_images_no_image_is_told() -> None:
    scan = TrueScan((LESION,), ("liver",), {})
    for seed in range(60):
        plain = write_report(scan, "en", "A", seed)
        assert all(m.finding.images == () for m in plain.mentions)
    told = [write_report(scan, "en", "A", seed, {1: 57}) for seed in range(60)]
    assert {m.finding.images for r in told for m in r.mentions if m.lesions} == {(), (57,)}


def test_an_organ_without_words_is_refused() -> None:
    scan = TrueScan((dataclasses.replace(LESION, organ="sofa"),), ("liver",), {})
    with pytest.raises(ReportError, match="expected one that reports have words for, found sofa"):
        write_report(scan, "en", "A", 1)


def test_places_and_the_sides_they_tell() -> None:
    import random

    def told(language: Any, *where: Any) -> set[tuple[str, str | None]]:
        return {
            Speaker(language, random.Random(seed)).place(*where)
            for seed in range(40)  # type: ignore[misc]
        }

    assert told("nl", "vertebra", None, "T8", "bone", False) == {
        ("in Th8", None), ("in het corpus van Th8", None), ("in wervel Th8", None)
    }  # fmt: skip
    assert ("in the RLL", "right") in told("en", "lung", "right", "right lower lobe", "lung", False)
    assert told("en", "kidney", "left", None, "kidney", True) == {("on the left", "left")}
    assert told("en", "liver", None, None, "liver", True) == {("", None)}
    assert told("nl", "kidney", "both", None, "kidney", False) == {("in beide nieren", "both")}
    assert told("en", "rib", "left", "left rib 2", "bone", False) == {
        ("in the left 2nd rib", "left"), ("in the 2nd rib on the left", "left")
    }  # fmt: skip
    assert told("nl", "lymph node", None, "unheard of", "abdomen", False) == {("intra-abdominaal", None)}


ORGANS: list[tuple[str, bool, tuple[str | None, ...]]] = [
    ("liver", False, ("segment 4a", "segment 7")),
    ("lung", True, ("left upper lobe", "right middle lobe")),
    ("kidney", True, ("upper pole", "interpolar", "lower pole")),
    ("vertebra", False, ("C7", "T1", "L5")),
    ("rib", True, ("left rib 1", "right rib 12")),
    ("muscle", True, ("chest wall", "abdominal wall", "groin", "paraspinal", "gluteal")),
    ("subcutaneous fat", True, ("chest wall", "abdominal wall", "back", "gluteal")),
    ("pancreas", False, ("head", "body", "tail")),
    *(
        (organ, True, ())
        for organ in ("adrenal gland", "hip bone", "femur", "humerus", "scapula", "clavicle")
    ),
    *((organ, True, ()) for organ in ("breast", "psoas", "ovary", "thyroid", "pleura")),
    *((organ, False, ()) for organ in ("spleen", "sternum", "sacrum", "mediastinum", "oesophagus", "heart")),
    *((organ, False, ()) for organ in ("stomach", "duodenum", "small bowel", "colon", "rectum", "bladder")),
    *((organ, False, ()) for organ in ("prostate", "uterus", "gall bladder", "pelvic fat")),
    ("abdominal fat", False, ("omental", "mesenteric")),
]
NODES = {
    "mediastinum": ("paratracheal", "subcarinal", "hilar", "prevascular"),
    "abdomen": ("retroperitoneal", "mesenteric", "portal", "gastrohepatic", "retrocrural"),
    "pelvis": ("iliac",),
    "soft tissue": ("axillary", "cervical", "inguinal"),
}


@pytest.mark.parametrize("language", ["en", "nl"])
def test_every_organ_has_words_and_every_side_is_told(language: Any) -> None:
    import random

    speaker = Speaker(language, random.Random(0))
    for organ, sided, segments in ORGANS:
        subject_of(dataclasses.replace(LESION, organ=organ))
        for segment in (None, "several", *segments):
            for side in ("left", "right", "both") if sided else (None,):
                text, told = speaker.place(organ, side, segment, "bone", False)
                assert text
                if sided and side != "both" and "lobe" not in str(segment):
                    assert told == side, (organ, segment)
                if segment in segments and side != "both":
                    assert text != speaker.place(organ, side, None, "bone", False)[0], (organ, segment)
    for lesion_type, stations in NODES.items():
        for station in stations:
            assert speaker.place("lymph node", None, station, lesion_type, False)[0]
            sites = speaker.words["sites"]
            assert f"lymph node / {station}" in sites, station


@pytest.mark.parametrize(
    ("raw", "clean", "spans"),
    [
        ("in  the liver .", "In the liver.", []),
        ("\ue0009 mm\ue001, and \ue0006 mm \ue001.", "9 mm, and 6 mm.", [(0, 4), (10, 14)]),
        ("a lesion. Suspicious..", "A lesion. Suspicious.", []),
    ],
)
def test_tidy(raw: str, clean: str, spans: list[tuple[int, int]]) -> None:
    assert tidy(raw) == (clean, spans)


def test_wrapping_keeps_offsets() -> None:
    text = "aaa bbb ccc\nddddddddd ee"
    assert report_writer._wrapped(text, 7) == "aaa bbb\nccc\nddddddddd\nee"
    assert report_writer._wrapped(text, 0) == text


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, node if isinstance(node, list) else [node]


def test_languages_have_the_same_phrases() -> None:
    english, dutch = (dict(leaves(phrases(language))) for language in ("en", "nl"))
    assert set(english) == set(dutch)
    for path, texts in english.items():
        slots = [
            {name for text in side for _, name, _, _ in string.Formatter().parse(text) if name}
            for side in (texts, dutch[path])
        ]
        for found in slots:
            assert found <= {
                *("site", "a", "entity", "entities", "size", "largest", "ref", "tail", "count", "items"),
                *("adj", "prior", "date", "series", "image", "side", "side_alone", "segment", "n", "nth"),
                *("nouns", "aorta", "duct", "length", "cycles", "kg", "year", "region", "contrast"),
                *("slice", "ml"),
            }, path


def test_no_sentence_of_a_real_report_is_copied(samples: dict[tuple[str, str], Sample]) -> None:
    folder = ROOT.parent / "shared" / "data" / "reports"
    if not folder.is_dir():
        pytest.skip("needs the real reports of shared/data")

    def runs(text: str, length: int = 7) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", text.lower())
        return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}

    real = {run for path in folder.rglob("*.md") for run in runs(path.read_text(encoding="utf-8"))}
    assert real
    own = {
        run for _, r in every(samples) for sentence in re.split(r"[.\n]", r.text) for run in runs(sentence)
    }
    assert own & real == set()


def test_command_writes_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--count", "3", "--language", "nl", "--site", "B", "--seed", "2"]
    assert main([*options, "--out", str(tmp_path / "new")]) == 0
    lines = (tmp_path / "new" / "reports.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["id"] for row in rows] == [f"B-nl-2-{i:05d}" for i in range(3)]
    assert {"text", "mentions", "omitted", "truth"} <= set(rows[0])
    assert main(options) == 0
    assert rows[0]["text"] in capsys.readouterr().out
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["--out", str(tmp_path / "file")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_sampled_truths() -> None:
    scans = [sample_scan(seed) for seed in range(600)]
    healthy = sum(all(m.status != "lesion" for m in s.lesions) for s in scans) / len(scans)
    assert 0.3 < healthy < 0.42
    assert all([m.label for m in s.lesions] == list(range(1, len(s.lesions) + 1)) for s in scans)
    livers = [m.long_mm for s in scans for m in s.lesions if m.organ == "liver" and m.status == "lesion"]
    assert math.log(sorted(livers)[len(livers) // 2]) == pytest.approx(math.log(18), abs=0.3)

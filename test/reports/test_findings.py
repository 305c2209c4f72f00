"""Sentences made for these tests, in both languages, with the findings written out."""

from __future__ import annotations

import pytest

from resources.cases.case import Finding
from resources.reports.reader import read_report

EN, NL = "en", "nl"


def short(finding: Finding) -> str:
    """`-` absent, `?` uncertain; organ; side; count; sizes; flags, as one readable line."""
    mark = {"present": "", "absent": "-", "uncertain": "?"}[finding.presence]
    parts = [mark + str(finding.organ).replace("lymph node", "node"), finding.side]
    parts += [] if finding.count in (None, 1) else [str(finding.count)]
    parts += ["x".join(f"{mm:g}" for mm in finding.sizes_mm)]
    parts += [] if finding.time == "current" else [finding.time]
    return " ".join(part for part in parts if part)


def read(text: str, language: str = "auto") -> list[str]:
    return [short(f) for f in read_report(text, language)]  # type: ignore[arg-type]


SIZES = [
    (EN, "Mass in the liver measuring 2.3 x 1.8 cm.", ["liver 23x18"]),
    (EN, "12-mm nodule in the right upper lobe.", ["lung right 12"]),
    (EN, "Hypodense lesion in segment 7 of the liver, 2.3 cm x 1.8 cm.", ["liver 23x18"]),
    (EN, "A 9 by 6 mm nodule in the left lower lobe.", ["lung left 9x6"]),
    (EN, "Multiple pulmonary nodules up to 14 mm.", ["lung several 14"]),
    (EN, "Multiple liver metastases, the largest 12 mm.", ["liver several 12"]),
    (EN, "Liver metastasis of 12 mm, was 16 mm.", ["liver 12"]),
    (EN, "Liver metastasis of 12 mm (was 16).", ["liver 12"]),
    (EN, "Nodule in the left upper lobe measures 12 mm (previously 9 mm).", ["lung left 12"]),
    (EN, "Nodule in the left lower lobe has increased from 9 mm to 12 mm.", ["lung left 12"]),
    (EN, "Nodule in the left lower lobe, currently 12 mm, 9 mm previously.", ["lung left 12"]),
    (EN, "Right adrenal mass, long axis 23 mm, short axis 14 mm.", ["adrenal gland right 23x14"]),
    (EN, "Lung nodules of 5, 6 and 12 mm.", ["lung 5", "lung 6", "lung 12"]),
    (EN, "4-6 mm nodule in the lingula.", ["lung left 6"]),
    (EN, "Pulmonary nodule. Slice thickness 1 mm.", ["lung"]),
    (EN, "The spleen measures 11 cm. The aorta measures 34 mm.", []),
    (EN, "Spleen 11 cm without lesions.", ["-spleen"]),
    (EN, "Hepatic cyst; common bile duct 8 mm.", ["liver"]),
    (EN, "Lesion in the pancreatic tail, volume 12 ml.", ["pancreas"]),
    (EN, "Lymph node in the left axilla, 18 mm. SPD 5810.", ["axillary node left 18"]),
    (NL, "Massa in de lever van 2,3 x 1,8 cm.", ["liver 23x18"]),
    (NL, "7 millimeter grote nodus in de rechter bovenkwab.", ["lung right 7"]),
    (NL, "Nodus van 9 bij 6 mm in de linker onderkwab.", ["lung left 9x6"]),
    (NL, "Multipele longmetastasen tot 14 mm.", ["lung several 14"]),
    (NL, "Levermetastase van 16 mm, voorheen 24 mm.", ["liver 16"]),
    (NL, "Laesie in segment 4 van de lever, nu 16 mm (was 24 mm).", ["liver 16"]),
    (NL, "Nodus in de linker bovenkwab toegenomen van 9 naar 12 mm.", ["lung left 12"]),
    (NL, "Pathologisch vergrote klier rechts axillair met korte as van 14 mm.", ["axillary node right 14"]),
    (NL, "Milt 11 cm. Aorta abdominalis 34 mm. Coupedikte 3 mm.", []),
    (NL, "Drie hypodense laesies in de lever, waarvan de grootste 23 mm.", ["liver 3 23"]),
    (NL, "Bijniermetastase links 2,4 cm.", ["adrenal gland left 24"]),
]

ASSERTION = [
    (EN, "No liver lesions.", ["-liver"]),
    (EN, "No focal lesions in the liver, spleen or pancreas.", ["-liver", "-spleen", "-pancreas"]),
    (EN, "The liver, spleen and adrenal glands are normal.", ["-liver", "-spleen", "-adrenal gland"]),
    (EN, "Adrenals: unremarkable.", ["-adrenal gland"]),
    (EN, "Suspicious lung nodules are not seen.", ["-lung"]),
    (EN, "No enlarged mediastinal or hilar lymph nodes.", ["-mediastinal node", "-hilar node"]),
    (EN, "No change in the 8 mm nodule in the right middle lobe.", ["lung right 8"]),
    (EN, "Possible liver metastasis.", ["?liver"]),
    (EN, "Bone metastasis cannot be excluded.", ["?bone"]),
    (EN, "Left renal mass, suspicious for renal cell carcinoma.", ["kidney left"]),
    (EN, "The previously seen nodule in the left lower lobe has resolved.", ["-lung left resolved"]),
    (EN, "No evidence of metastatic disease.", ["-None"]),
    (EN, "No new lesions.", []),
    (EN, "No pleural effusion. 12 mm nodule in the right lung.", ["lung right 12"]),
    (EN, "No liver metastases, but a 14 mm lesion in the spleen.", ["-liver", "spleen 14"]),
    (EN, "Liver normal except for a 9 mm cyst.", ["liver 9"]),
    (NL, "Geen leverlaesies.", ["-liver"]),
    (NL, "Geen focale laesies in lever, milt of pancreas.", ["-liver", "-spleen", "-pancreas"]),
    (NL, "Lever, milt en bijnieren zonder afwijkingen.", ["-liver", "-spleen", "-adrenal gland"]),
    (
        NL,
        "Geen pathologisch vergrote lymfeklieren mediastinaal of hilair.",
        ["-mediastinal node", "-hilar node"],
    ),
    (NL, "Botmetastasen zijn niet uit te sluiten.", ["?bone several"]),
    (NL, "Mogelijk levermetastase in segment 6.", ["?liver"]),
    (NL, "Longnodus in de linker onderkwab niet meer zichtbaar.", ["-lung left resolved"]),
    (NL, "Geen aanwijzingen voor metastasen.", ["-None"]),
    (NL, "Geen nieuwe laesies.", []),
    (NL, "Geen pleuravocht. Wel een nodus van 12 mm in de rechterlong.", ["lung right 12"]),
    (NL, "Geen levermetastasen, wel een laesie van 14 mm in de milt.", ["-liver", "spleen 14"]),
    (NL, "Skelet: geen verdachte laesies.", ["-bone"]),
]

LINKING = [
    (EN, "Metastases in the liver and both lungs.", ["liver several", "lung both several"]),
    (EN, "Two lesions in the liver. The largest measures 23 mm in segment 7.", ["liver 2 23"]),
    (EN, "There is a nodule in the left lung. It measures 8 mm.", ["lung left 8"]),
    (
        EN,
        "Enlarged axillary lymph nodes, 35 mm on the right and 37 mm on the left.",
        ["axillary node right 35", "axillary node left 37"],
    ),
    (
        EN,
        "Target lesions:\n1. Liver segment 6: 23 mm (was 31 mm)\n2. Right lower lobe: 14 mm",
        ["liver 23", "lung right 14"],
    ),
    (EN, "Right kidney: 12 mm cyst. Left kidney: normal.", ["kidney right 12", "-kidney left"]),
    (
        EN,
        "Findings: 12 mm nodule in the right upper lobe.\n\nImpression: Nodule in the right upper lobe.",
        ["lung right 12"],
    ),
    (EN, "Indication: lung metastases?\n\nFindings: Lungs are clear.", ["-lung"]),
    (EN, "Lytic lesion in the left iliac bone.", ["pelvic bone left"]),
    (EN, "Sclerotic lesion in L3.", ["spine"]),
    (
        EN,
        "Peripherally enhancing mass in the head of the pancreas abutting the duodenum, 3.1 cm.",
        ["pancreas 31"],
    ),
    (NL, "Metastasen in lever en beide longen.", ["liver several", "lung both several"]),
    (NL, "Twee laesies in de lever. De grootste meet 23 mm.", ["liver 2 23"]),
    (
        NL,
        "Doellaesies:\n- Lever segment 6: 23 mm (was 31 mm)\n- Rechter onderkwab: 14 mm",
        ["liver 23", "lung right 14"],
    ),
    (
        NL,
        "Thorax:\nNodus van 8 mm in de middenkwab.\nLever:\nCyste van 2 cm.\nSkelet:\nGeen afwijkingen.",
        ["lung right 8", "liver 20", "-bone"],
    ),
    (
        NL,
        "Bevindingen: niercyste links van 3 cm.\n\nConclusie: geen metastasen.",
        ["kidney left 30", "-None"],
    ),
    (NL, "Vraagstelling: levermetastasen?\n\nVerslag: Lever zonder focale afwijkingen.", ["-liver"]),
    (NL, "Lytische laesie in corpus L3.", ["spine"]),
    (NL, "Conglomeraat van vergrote lymfeklieren para-aortaal van 4,5 x 3,2 cm.", ["para-aortic node 45x32"]),
]

HEADED = [
    (EN, "Bones: Lytic lesion of 1.5 cm in L3.", ["spine 15"]),
    (
        EN,
        "Bones: Lesion in the left iliac bone. Bone island of 0.6 cm in T4.",
        ["pelvic bone left", "spine 6"],
    ),
    (EN, "Pelvic lymph nodes: Enlarged node in the left groin, 1.3 cm.", ["inguinal node left 13"]),
    (EN, "Mediastinal nodes: No adenopathy.", ["-mediastinal node"]),
    (EN, "Abdominal nodes: None enlarged.", ["-abdominal node"]),
    (EN, "The lungs show no nodules or masses.", ["-lung"]),
    (EN, "Solid metastasis in the right adrenal, not present on 15-02-2014.", ["adrenal gland right"]),
    (EN, "Kidneys: No suspicious findings.", ["-kidney"]),
    (NL, "Milt: Geen haarden.", ["-spleen"]),
    (NL, "Lever: Geen verdachte afwijkingen.", ["-liver"]),
    (NL, "Klieren bekken: Geen pathologisch vergrote.", ["-pelvic node"]),
    (NL, "Lymfeklieren mediastinum: Vergrote klier, 1,3 cm.", ["mediastinal node 13"]),
    (NL, "Geen voor metastasen verdachte leverlaesies.", ["-liver"]),
    (NL, "Enostose in het os coxae links.", ["pelvic bone left"]),
    (
        NL,
        "Lever: Nodus van 5 mm.\nLangs de iliacale vaten geen vergrote klieren.",
        ["liver 5", "-iliac node"],
    ),
    (
        EN,
        "Focus of 4 mm in the liver, seen at the edge of the scan. Pancreas and\nspleen: no abnormalities.",
        ["liver 4", "-pancreas", "-spleen"],
    ),
]


@pytest.mark.parametrize(("language", "text", "expected"), SIZES + ASSERTION + LINKING + HEADED)
def test_findings(language: str, text: str, expected: list[str]) -> None:
    assert read(text, language) == expected

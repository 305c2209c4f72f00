"""LesaNet's body part and lesion type terms (Yan et al. 2019) in the names of our tables."""

from __future__ import annotations

from collections import Counter

from resources.reports.reader import explain_report
from resources.reports.vocabulary import ancestors, lesion_words, places

ATTRIBUTES = frozenset(
    word
    for line in (
        "hypoattenuation enhancing enlargement heterogeneous large calcified spiculated hyperattenuation",
        "indistinct solid sclerotic oval noncalcified cavitary exophytic necrosis hypervascular lobular",
        "lytic circumscribed round tiny wedge-shaped fat punctate thin nonenhancing prominent thick",
        "+cavitary expansile conglomerate benign cortex capsule ligament intraperitoneal",
    )
    for word in line.split()
) | {"soft tissue attenuation", "lobular mass", "spiculated mass"}
"""Terms for how a lesion looks, not where or what it is."""

PLACES = {
    "right lung": "lung",
    "left lung": "lung",
    "right lower lobe": "lower lobe",
    "left lower lobe": "lower lobe",
    "right upper lobe": "upper lobe",
    "left upper lung": "upper lobe",
    "left upper lobe": "upper lobe",
    "right mid lung": "middle lobe",
    "left kidney": "kidney",
    "right kidney": "kidney",
    "left adrenal gland": "adrenal gland",
    "right adrenal gland": "adrenal gland",
    "gastrointestinal": "bowel",
    "intestine": "bowel",
    "cervix": "uterine cervix",
    "biliary system": "bile duct",
    "subcutaneous fat": "subcutaneous",
    "urinary bladder": "bladder",
    "porta Hepatis": "porta hepatis",
    "adnexa": "adnexa",
    "hemithorax": "chest",
    "right hemithorax": "chest",
    "left hemithorax": "chest",
    "anterior chest": "chest",
    "oblique fissure": "fissure",
    "right major fissure": "fissure",
    "right thyroid lobe": "thyroid gland",
    "left lobe of thyroid gland": "thyroid gland",
    "cardiac": "heart",
    "pericardial": "pericardium",
    "costophrenic sulcus": "pleura",
    "left costophrenic sulcus": "pleura",
    "airway": "bronchus",
    "artery": "blood vessel",
    "vein": "blood vessel",
    "pulmonary artery": "blood vessel",
    "superior mesenteric vein": "blood vessel",
    "left external iliac artery": "blood vessel",
    "anterior abdominal wall": "abdominal wall",
    "anterior chest wall": "chest wall",
    "iliopsoas": "psoas muscle",
    "paraspinal muscle": "paraspinal",
    "vertebral body": "vertebra",
    "thoracic vertebral body": "thoracic spine",
    "lumbar": "lumbar spine",
    "pancreatic neck": "pancreatic head",
    "peritoneal cavity": "peritoneum",
    "gastrohepatic ligament": "gastrohepatic",
    "lower abdomen": "abdomen",
    "foot": "extremity",
}
"""Terms of another name than ours, or finer than our places are (sides are told apart elsewhere)."""

LESIONS = {
    "neoplasm": {
        "tumour",
        "cancer",
        "metastasis",
        "hemangioma",
        "adenoma",
        "lipoma",
        "leiomyoma",
        "sarcoma",
        "neuroendocrine tumour",
        "lymphoma",
        "renal cell carcinoma",
        "lung cancer",
        "hepatocellular carcinoma",
        "urothelial carcinoma",
        "angiomyolipoma",
        "myelolipoma",
        "recurrence",
    },
    "carcinoma": {
        "cancer",
        "renal cell carcinoma",
        "lung cancer",
        "hepatocellular carcinoma",
        "urothelial carcinoma",
    },
    "cancer": {
        "cancer",
        "metastasis",
        "renal cell carcinoma",
        "lung cancer",
        "lymphoma",
        "hepatocellular carcinoma",
    },
    "cyst": {"cyst", "cystic lesion", "kidney cyst", "ovarian cyst", "pseudocyst", "epidermoid cyst"},
    "simple cyst": {"cyst", "kidney cyst"},
    "kidney cyst": {"kidney cyst", "cyst"},
    "parapelvic cyst": {"kidney cyst"},
    "ovarian cyst": {"ovarian cyst", "cyst"},
    "nodule": {"nodule", "thyroid nodule"},
    "mass": {"mass"},
    "lung nodule": {"nodule"},
    "fluid": {"collection", "effusion", "ascites"},
    "skin thickening": {"thickening"},
    "infarction": {"infarction"},
    "solid pulmonary nodule": {"nodule"},
    "liver mass": {"mass"},
    "lung mass": {"mass"},
    "breast mass": {"mass"},
    "subcutaneous mass": {"mass"},
    "metastasis": {"metastasis"},
    "hemangioma": {"hemangioma"},
    "adenoma": {"adenoma"},
    "lipoma": {"lipoma"},
    "leiomyoma": {"leiomyoma"},
    "opacity": {"opacity", "ground-glass opacity"},
    "lymphadenopathy": {"lymphadenopathy"},
    "lymph node": {"lymph node", "lymphadenopathy"},
}


def recall(rows: list[dict]) -> tuple[Counter[str], Counter[str], list[tuple[str, str]]]:
    """Found and annotated terms by kind ("place", "lesion"), and the (sentence, term) not found."""
    found: Counter[str] = Counter()
    annotated: Counter[str] = Counter()
    missed = []
    for row in rows:
        mentions = [m for s in explain_report(row["text"], "en").sentences for m in s.mentions]
        where = {wide for m in mentions if m.category == "places" for wide in ancestors(m.name)}
        what = {m.name for m in mentions if m.category == "lesions"}
        where |= {
            wide
            for name in what
            if lesion_words()[name].place
            for wide in ancestors(lesion_words()[name].place)
        }
        for term in row["expanded_terms"]:
            if term in ATTRIBUTES:
                continue
            kind, hit = _hit(term, where, what)
            annotated[kind] += 1
            found[kind] += hit
            if not hit:
                missed.append((row["text"], term))
    return found, annotated, missed


def _hit(term: str, where: set[str], what: set[str]) -> tuple[str, bool]:
    if term in LESIONS or term in lesion_words():
        return "lesion", bool(LESIONS.get(term, {term}) & what)
    if term.endswith(" lymph node"):
        station = term.removesuffix(" lymph node").removeprefix("right ").removeprefix("left ")
        named = {PLACES.get(station, station), station} & where
        return "place", bool({"lymph node", "lymphadenopathy"} & what) and bool(named)
    name = PLACES.get(term, term)
    assert name in places(), f"no place for LesaNet's {term!r}"
    return "place", name in where


OTHER = frozenset(
    {
        "infiltrate",
        "patchy",
        "reticular",
        "diffuse",
        "lucent",
        "implant",
        "subcentimeter",
        "fat-containing",
        "left hilum lymph node",
    }
)
"""Terms of appearance in the mined list only, or named otherwise by us."""


def known(term: str) -> bool:
    """Whether a term of LesaNet is a place or a lesion word of our tables."""
    station = term.removesuffix(" lymph node").removeprefix("right ").removeprefix("left ")
    names = {term, station, PLACES.get(term, term), PLACES.get(station, station)}
    return term in LESIONS or bool(names & set(places())) or term in lesion_words()

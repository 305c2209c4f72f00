"""The type that LesaNet's terms give a lesion of DeepLesion (Yan et al. 2019; attributes of the case).

Terms come with their parents ("liver" with "upper abdomen" and "abdomen"). DeepLesion's own rules decide
between them: abdomen is what is neither liver nor kidney, soft tissue is the body wall with neck and limbs.
"""

from __future__ import annotations

from resources.cases.case import Annotation

_TERMS = {
    "lung": "lung; lung nodule; lung mass; right lung; left lung; solid pulmonary nodule; pleura",
    "liver": "liver; liver mass",
    "kidney": "kidney; left kidney; right kidney; kidney cyst",
    "mediastinum": "mediastinum; hilum; mediastinum lymph node; hilum lymph node; cardiophrenic",
    "bone": "bone; spine; lumbar; thoracic spine; vertebral body; sacrum; rib; sternum; femur; pelvic bone",
    "abdomen": "abdomen; upper abdomen; retroperitoneum; abdomen lymph node; retroperitoneum lymph node",
    "pelvis": "pelvis; pelvis lymph node; pelvic wall; groin; iliac lymph node; groin lymph node",
    "soft tissue": "soft tissue; chest wall; body wall; abdominal wall; axilla; neck; extremity; thigh; "
    "muscle; paraspinal; breast; skin; subcutaneous; thyroid gland",
}
TYPE_OF_TERM = {term: type for type, terms in _TERMS.items() for term in terms.split("; ")}
GIVES_WAY = {
    "abdomen": ("liver", "kidney"),
    "soft tissue": ("bone",),
    "pelvis": ("bone",),
}
"""A type that is left out beside one of these, whose terms have it as their parent."""
ATTRIBUTES = ("lesanet_terms", "lesanet_relevant")
"""Terms given by hand, and those mined as certain; the first that is there counts."""


def type_of(annotation: Annotation) -> str | None:
    """The annotation's type, or the one type that its terms agree on; None if they name none or several."""
    if annotation.type is not None:
        return annotation.type
    for name in ATTRIBUTES:
        terms = annotation.attributes.get(name)
        if isinstance(terms, str):
            types = {TYPE_OF_TERM[term] for term in terms.split("; ") if term in TYPE_OF_TERM}
            types = {type for type in types if not types & set(GIVES_WAY.get(type, ()))}
            return types.pop() if len(types) == 1 else None
    return None

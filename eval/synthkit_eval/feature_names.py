"""The families of feature spaces, and the names by which users choose one (`--features`)."""

from __future__ import annotations

import re
from typing import NamedTuple

from synthkit.errors import ScoreError

NONE = "none"
# The feature space whose weights come with synthkit.
OFFLINE = "builtin:tiny-unclip-digits"


class Family(NamedTuple):
    """Feature spaces of one kind: how users name one, and what opens it.

    `forms` are the names as an error or a help text shows them, `pattern` matches every valid name, and
    `opener` is the "module:function" that makes `Features` of (name, what follows "KIND:", device, batch
    size). The module is imported when a space of the family is opened.
    """

    forms: tuple[str, ...]
    pattern: str
    opener: str


# By kind, which is what stands before the first colon of a name.
FAMILIES = {
    "builtin": Family((OFFLINE,), re.escape(OFFLINE), "synthkit_eval.sets.clip_features:open_builtin"),
    "inception": Family(
        ("inception", "inception:FILE"),
        r"inception(:.+)?",
        "synthkit_eval.sets.inception_features:open_inception",
    ),
    "timm": Family(
        ("timm:NETWORK", "timm:NETWORK:FILE"),
        r"timm:[^:]+(:.+)?",
        "synthkit_eval.sets.timm_features:open_timm",
    ),
    "clip": Family(
        ("clip:REPOSITORY", "clip:FOLDER"), r"clip:.+", "synthkit_eval.sets.clip_features:open_clip"
    ),
}
FORMS = tuple(form for family in FAMILIES.values() for form in family.forms)


def check_features(spec: str) -> None:
    """Raise ScoreError if a text is neither the name of a feature space nor `none`.

    Only the form is checked: nothing is loaded or looked up.
    """
    family = FAMILIES.get(spec.partition(":")[0])
    if spec != NONE and (family is None or not re.fullmatch(family.pattern, spec)):
        raise ScoreError(f"features {spec}: unknown; use one of {', '.join(FORMS)}, or {NONE}")

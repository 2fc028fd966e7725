"""The feature spaces that a protocol may name."""

from __future__ import annotations

import re

from synthkit.errors import ScoreError
from synthkit.generators.checkpoint import BUILTIN

NONE = "none"


FORMS = (
    *(f"builtin:{name}" for name in BUILTIN),
    "inception",
    "inception:FILE",
    "timm:NETWORK",
    "timm:NETWORK:FILE",
    "clip:REPOSITORY",
    "clip:FOLDER",
)


_FORM = re.compile(r"inception(:.+)?|timm:[^:]+(:.+)?|clip:.+")


def check_features(spec: str) -> None:
    """Raise ScoreError if this is no feature space's form, nor `none`. Nothing is loaded or looked up."""
    builtin = spec.removeprefix("builtin:") in BUILTIN and spec.startswith("builtin:")
    if spec != NONE and not builtin and not _FORM.fullmatch(spec):
        raise ScoreError(f"features {spec}: unknown; use one of {', '.join(FORMS)}, or {NONE}")

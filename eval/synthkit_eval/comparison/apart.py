"""Why scores stand in sections of their own: what differs between them beside the release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit_eval.score import Score

_SETTINGS_SHOWN = 3


def why_apart(place: int, firsts: Sequence[Score]) -> str | None:
    """Say why a section does not compare with the earlier one that differs least; None for the first."""
    reasons = [(list(_unlike(firsts[place], firsts[i])), i + 1) for i in range(place)]
    if not reasons:
        return None
    why, number = min(reasons, key=lambda reason: len(reason[0]))
    return f"Does not compare with section {number}: {'; '.join(why)}."


def _unlike(score: Score, other: Score) -> Iterator[str]:
    if score.protocol.kin != other.protocol.kin:
        yield f"another protocol ({_unlike_protocol(score, other)})"
    if score.data.kin != other.data.kin:
        if score.data.training_digest != other.data.training_digest:
            yield "other real training images"
        if score.data.evaluation_digest != other.data.evaluation_digest:
            yield "other evaluation images"
        if score.on_images_of(other):
            yield "another way of choosing the real images"
    if score.data.groups != other.data.groups:
        yield "other groups of classes"


def _unlike_protocol(score: Score, other: Score) -> str:
    mine, theirs = score.protocol, other.protocol
    if (mine.name, mine.version) != (theirs.name, theirs.version):
        return f"{mine.name} version {mine.version}, not {theirs.name} version {theirs.version}"
    settings, others = dict(flat(mine.settings)), dict(flat(theirs.settings))
    keys = [key for key in sorted(settings | others) if settings.get(key) != others.get(key)]
    shown = [f"{key} {settings.get(key)}, not {others.get(key)}" for key in keys[:_SETTINGS_SHOWN]]
    rest = [f"{len(keys) - _SETTINGS_SHOWN} more settings"] if len(keys) > _SETTINGS_SHOWN else []
    return "; ".join([*shown, *rest]) or "another digest"


def flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of a protocol by their dotted names."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

"""A change of a repository, tried again where somebody else changed it meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from synthkit.errors import HubConflict

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_ATTEMPTS = 3


def in_attempts(planned: T, carry_out: Callable[[T], None], again: Callable[[T], T]) -> T:
    """Carry out what is planned, planned `again` after a conflict; return the plan that was carried out.

    Raises HubConflict after the third one.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            carry_out(planned)
        except HubConflict:
            planned = again(planned)
        else:
            return planned
    carry_out(planned)
    return planned

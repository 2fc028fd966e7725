"""Every error that a user can cause: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# A name that is longer than another by more letters than these is no misspelling of it.
_LONGEST_SLIP = 40


class SynthkitError(Exception):
    """A user's mistake or a fault of the machine; the command line prints it and exits with 1."""


class RecipeError(SynthkitError):
    """The recipe cannot be used as written."""


class SourceError(SynthkitError):
    """The real images are missing, unreadable or not as the recipe says.

    A stranger's recipe could name a private file and have the message show its content. So `told` is what may
    be said then: the place and the line, and nothing that a file holds; None if all of it could be content.
    """

    def __init__(self, message: str, *, told: str | None = None) -> None:
        super().__init__(message)
        self.told = told


class MissingSource(SourceError):
    """A file or folder that a recipe names is missing or of another kind; the message quotes no content."""

    def __init__(self, message: str) -> None:
        super().__init__(message, told=message)


class UnreadableImage(SourceError):
    """A real image cannot be read or decoded; `reason` says why without a path."""

    def __init__(self, image: str, reason: str) -> None:
        super().__init__(f"{image}: cannot be read: {reason}")
        self.image = image
        self.reason = reason


class GeneratorError(SynthkitError):
    """The model is missing, incomplete or of another kind."""


class BuildError(SynthkitError):
    """A build cannot start or go on; what is finished stays finished."""


class ReleaseError(SynthkitError):
    """A release folder is not what its manifest says."""


class SignatureError(SynthkitError):
    """A signature is missing, is not one, or is somebody else's; or a key cannot sign."""


class ScoreError(SynthkitError):
    """A release cannot be scored, or a score file is not one."""


class VersionError(SynthkitError):
    """params.yaml, DVC or the git repository is not in a state to record a release."""


class HubError(SynthkitError):
    """The Hub cannot be reached, refuses, or holds something else."""


class HubConflict(HubError):
    """Someone else changed the repository between two requests; whoever asks looks again."""


def one_line(told: object, longest: int | None = 200) -> str:
    """Return the beginning of a text, or of an error's message, on one line.

    An error without a message is told by the name of its type; `longest` is a number of letters.
    """
    text = str(told)
    line = " ".join((text if longest is None else text[: 10 * longest]).split())[:longest]
    return type(told).__name__ if not line and isinstance(told, BaseException) else line


def told_to_user(error: SynthkitError | OSError) -> str:
    """Return an error as a user is told of it: of a fault of the machine also what to do."""
    if not isinstance(error, OSError):
        return str(error)
    what = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{what}{reason}; what is finished is kept: make room and run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{what}{reason}; choose a folder you may write to with --out"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{what}is not a folder; choose another --out"
    return f"{what}{reason}"


def nearest(name: str, names: Iterable[str], count: int = 1, cutoff: float = 0.5) -> list[str]:
    """Return the names that a misspelt one probably means, the likeliest first.

    `cutoff` is the least likeness, from 0 to 1, as `difflib` measures it.
    """
    import difflib

    # A far longer text takes long to compare, and resembles no name.
    similar = [other for other in names if abs(len(other) - len(name)) <= _LONGEST_SLIP]
    return difflib.get_close_matches(name, similar, count, cutoff)


def did_you_mean(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Return the nearest name as a question in brackets, to end a sentence; nothing if none is near."""
    return "".join(f" (did you mean {prefix}{other}?)" for other in nearest(name, names))

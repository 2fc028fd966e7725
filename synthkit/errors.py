"""Every error a user can cause: one line that says what is wrong, where, and what to do."""


class SynthkitError(Exception):
    """A user's mistake or a fault of the machine; `cli/shared.py` prints it and exits 1."""


class RecipeError(SynthkitError):
    """The recipe cannot be used as written."""


class SourceError(SynthkitError):
    """The real images are missing, unreadable or not as the recipe says.

    `told` is as much of it as may be said where the recipe is a stranger's: which place, which line, and
    nothing that a file holds. None if nothing may.
    """

    def __init__(self, message: str, *, told: str | None = None) -> None:
        super().__init__(message)
        self.told = told


class MissingSource(SourceError):
    """What a recipe names is not there, or is no folder, no file or no text; quotes no content."""

    def __init__(self, message: str) -> None:
        super().__init__(message, told=message)


class UnreadableImage(SourceError):
    """One real image that cannot be decoded; `reason` says why without naming a folder."""

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


class ScoreError(SynthkitError):
    """A release cannot be scored, or a score file is not one."""


class PipelineError(SynthkitError):
    """params.yaml, DVC or the git repository is not in a state to record a release."""


class HubError(SynthkitError):
    """The Hub cannot be reached, refuses, or holds something else."""


class HubConflict(HubError):
    """Someone else changed the repository between two requests: look again."""

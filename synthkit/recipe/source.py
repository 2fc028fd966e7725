"""The fields that every source of real images has, whatever its family: which of its images are taken."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from synthkit.config.section import Section


class Groups(Section):
    """Many / medium / few: groups of classes by their number of real training images."""

    many_above: int = Field(100, ge=0, description="Classes with more real images than this are 'many'.")
    few_below: int = Field(20, ge=0, description="Classes with fewer real images than this are 'few'.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.few_below > self.many_above + 1:
            raise ValueError("few_below must not exceed many_above + 1: the groups would overlap")
        return self


class Halve(Section):
    """A random division of every class into two halves: training and validation."""

    seed: int = Field(0, ge=0, lt=2**63, description="The seed of the division.")
    part: Literal["training", "validation"] = Field("training", description="The half to use.")


class LongTail(Section):
    """An exponential profile over the classes, in their order (Cui et al. 2019)."""

    imbalance_factor: float = Field(
        ge=1, le=1e6, description="Images of the first class over those of the last."
    )
    max_per_class: int | None = Field(
        None, ge=1, description="Images of the first class; default: what the smallest class has."
    )


def available_from_field(where: str) -> Any:
    """Return the field that says where to get a data set; `where` is its default in a family."""
    return Field(
        where,
        max_length=500,
        description="Where to get the images; told when they are missing, and in the card.",
    )


class SourceBase(Section):
    """What every family has: which classes and which of their images make the pool.

    Applied in this order: classes, subset, exclude, halve, long_tail, shots (or all but these),
    limit_per_class, class_order.
    """

    # The fields that may hold paths of this machine; a release keeps the last part of each alone.
    PATHS: ClassVar[tuple[str, ...]] = ()
    # Where the section stands in its recipe, for messages.
    _section: str = PrivateAttr("source")

    classes: list[str] | dict[str, str | None] | None = Field(
        None,
        description="The data set's classes to use: a list takes only these; a mapping renames "
        "(two to one name merges them), and null leaves one out.",
        examples=[["cat", "dog"], {"BACKGROUND_Google": None}],
    )
    subset: list[str | int] | None = Field(
        None, min_length=1, description="Only these classes, by name or number; the others' images are left."
    )
    exclude: list[str] | None = Field(None, description="Images to leave out, by id.")
    halve: Halve | None = Field(None, description="Use one half of each class; the other is for validation.")
    long_tail: LongTail | None = Field(
        None, description="Take an exponentially smaller number of each next class."
    )
    shots: int | None = Field(None, ge=1, description="Few-shot: exactly this many images of each class.")
    trial: int = Field(0, ge=0, lt=2**63, description="Which random choice of shots.")
    all_but_shots: bool | None = Field(
        None,
        description="Only to score with: every image but the shots of the trial. It is what scores a "
        "few-shot source that has no other part for that.",
    )
    limit_per_class: int | None = Field(None, ge=1, description="At most this many images of each class.")
    class_order: list[str] | None = Field(
        None,
        min_length=1,
        description="The classes that have the first labels, in this order; the others follow in the data "
        "set's own. `synthkit grow` writes it, so that classes keep their labels when others are added.",
    )
    groups: Groups = Field(Groups(), description="Thresholds of the many / medium / few groups.")
    on_error: Literal["stop", "skip"] = Field(
        "stop",
        description="An unreadable image stops the build, or is skipped and listed in the manifest.",
    )
    available_from: str = available_from_field("")

    def got_from(self) -> str:
        """Return where to get missing images, for an error; an empty text if that is not known."""
        return self.available_from

    def held_out(self) -> dict[str, str] | None:
        """Return the fields that name the data set's own part for testing; None if it has no other part."""
        return None

    @property
    def repository(self) -> str | None:
        """The data set on the Hub that the source names; None in a family that names none."""
        return None

    @property
    def place(self) -> str:
        """The dotted name of the field that says where the images are, as `source.root`."""
        fields = [name for name in ("images", "root", "id") if name in self.PATHS]
        given = next((name for name in fields if getattr(self, name) is not None), "kind")
        return f"{self._section}.{given}"

    @property
    def section(self) -> str:
        """The dotted name of the section in its recipe."""
        return self._section

    def standing_at(self, section: str) -> Self:
        """Return the same source as another section of a recipe, as its messages call it."""
        copy = self.model_copy()
        copy._section = section
        return copy

    def places(self) -> dict[str, str]:
        """Return the files and folders of this machine that the source names, by field."""
        values = ((name, getattr(self, name)) for name in self.PATHS)
        return {name: value for name, value in values if isinstance(value, str)}

    def fields_of_places(self) -> tuple[str, ...]:
        """Return the fields to set for images that lie elsewhere, the folder of the images first."""
        return tuple(sorted(self.places(), key=lambda field: field != "root"))

    @property
    def settings(self) -> str:
        """The same fields as options of a command, `--set source.root=…`; empty for a kind without paths."""
        return " ".join(f"--set {self._section}.{field}=…" for field in self.fields_of_places())

    @field_validator("classes", mode="wrap")
    @classmethod
    def _names_or_renames(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            if value in ([], {}):
                raise ValueError("is empty: leave it out, or name a class")
            return handler(value)
        except ValidationError:
            raise ValueError(
                "must be a list of class names, or a mapping of names to new names or null; quote numbers"
            ) from None

    @field_validator("subset", mode="wrap")
    @classmethod
    def _names_or_numbers(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError("must be a list of class names or numbers, at least one") from None

    @model_validator(mode="after")
    def _paths_are_paths(self) -> Self:
        for name in self.PATHS:
            if "\0" in str(getattr(self, name)):
                raise ValueError(f"{name} holds a NUL character, which no path has")
        return self

    @model_validator(mode="after")
    def _one_count_per_class(self) -> Self:
        if self.shots is None and self.trial:
            raise ValueError("trial says which shots to take: give shots too, or remove trial")
        if self.all_but_shots:
            self._check_the_shots_are_known()
            return self
        if self.shots is not None and self.on_error == "skip":
            raise ValueError(
                "on_error: skip could leave a class with fewer than its shots; "
                "use on_error: stop, and leave unreadable images out with exclude"
            )
        if self.shots is not None and (self.long_tail or self.limit_per_class):
            raise ValueError(
                "shots says how many images a class has: remove long_tail and limit_per_class, or shots"
            )
        return self

    def _check_the_shots_are_known(self) -> None:
        """Raise ValueError if these may not be the shots of another source without `all_but_shots`."""
        if self.shots is None:
            raise ValueError("all_but_shots says which images are not taken: give shots too, or remove it")
        if self.long_tail:
            raise ValueError("all_but_shots is of shots from all images: remove long_tail, or all_but_shots")

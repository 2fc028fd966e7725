"""The `source` section of a recipe: which real images, family by family, and which of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
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


def _available_from(where: str) -> Any:
    """The field that says where a data set comes from, with what is known of a family."""
    return Field(
        where,
        max_length=500,
        description="Where to get the images; told when they are missing, and in the card.",
    )


class SourceBase(Section):
    """What every family has: which classes and which of their images make the pool.

    Applied in this order: classes, subset, exclude, halve, long_tail, shots or limit_per_class.
    """

    # The fields that may name files of this machine; a release keeps their last part alone.
    PATHS: ClassVar[tuple[str, ...]] = ()

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
    limit_per_class: int | None = Field(None, ge=1, description="At most this many images of each class.")
    groups: Groups = Field(Groups(), description="Thresholds of the many / medium / few groups.")
    on_error: Literal["stop", "skip"] = Field(
        "stop",
        description="An unreadable image stops the build, or is skipped and listed in the manifest.",
    )
    available_from: str = _available_from("")

    def got_from(self) -> str:
        """Where to get images or lists that are missing, for an error; nothing if nobody knows."""
        return self.available_from

    @property
    def place(self) -> str:
        """The field that says where the images are, as it is written in a recipe."""
        fields = [name for name in ("images", "root", "id") if name in self.PATHS]
        given = next((name for name in fields if getattr(self, name) is not None), "kind")
        return f"source.{given}"

    def places(self) -> dict[str, str]:
        """The files and folders of this machine that the source names, by field."""
        values = ((name, getattr(self, name)) for name in self.PATHS)
        return {name: value for name, value in values if isinstance(value, str)}

    def fields_of_places(self) -> tuple[str, ...]:
        """The fields to set for images that lie elsewhere, the folder of the images first."""
        return tuple(sorted(self.places(), key=lambda field: field != "root"))

    @property
    def settings(self) -> str:
        """Those fields as options of a command, `--set source.root=…`; empty for a kind that has none."""
        return " ".join(f"--set source.{field}=…" for field in self.fields_of_places())

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


class DigitsSourceConfig(SourceBase):
    """scikit-learn's bundled handwritten digits in fixed, disjoint parts (docs/recipes.md)."""

    kind: Literal["digits"] = Field(description="The family of the source.")
    part: Literal["train", "validation", "test", "pretrain"] = Field(
        "train",
        description="Which part: long-tailed `train`, balanced `validation` or `test`, or `pretrain`.",
    )
    max_per_class: int = Field(57, ge=1, le=60, description="Training images of the most frequent class.")
    imbalance_factor: float = Field(
        11.4, ge=1, le=100, description="Images of the most frequent class over those of the rarest."
    )


class FolderSourceConfig(SourceBase):
    """A folder of images with one sub-folder per class (ImageFolder, Caltech101)."""

    PATHS: ClassVar = ("root",)

    kind: Literal["folder"] = Field(description="The family of the source.")
    root: str = Field(
        min_length=1,
        description="The folder that holds the class folders; relative paths start where the command runs.",
    )


IMAGENET = "imagenet"
# The class below has a field called `list`.
_Names = list[str]


class ListingSourceConfig(SourceBase):
    """A list file with a path and a label on each line (ImageNet-LT, Places-LT)."""

    PATHS: ClassVar = ("list", "root", "names")

    kind: Literal["listing"] = Field(description="The family of the source.")
    list: str = Field(min_length=1, description="The list file: `path label` on each line, labels from 0.")
    root: str = Field(min_length=1, description="The folder that the list's paths start in.")
    names: str | _Names = Field(
        description="The classes' names: `imagenet` (its 1000, all synonyms), a text file with one name a "
        "line, or a list.",
    )

    def places(self) -> dict[str, str]:
        """As of any source; `imagenet` is no file."""
        found = super().places()
        return {name: value for name, value in found.items() if (name, value) != ("names", IMAGENET)}

    @field_validator("names", mode="wrap")
    @classmethod
    def _file_or_names(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            if value in ("", []):
                raise ValueError("is empty")
            return handler(value)
        except ValidationError:
            raise ValueError(
                "must be `imagenet`, a text file with one name a line, or a list of names"
            ) from None


class Flowers102SourceConfig(SourceBase):
    """Oxford 102 Flowers as distributed: jpg/, imagelabels.mat, setid.mat (Nilsback and Zisserman 2008)."""

    PATHS: ClassVar = ("root",)

    kind: Literal["flowers102"] = Field(description="The family of the source.")
    root: str = Field(min_length=1, description="The folder that holds jpg/, imagelabels.mat and setid.mat.")
    split: Literal["all", "train", "valid", "test"] = Field(
        "all", description="Which images: all, or a part of setid.mat."
    )
    available_from: str = _available_from(
        "102flowers.tgz, imagelabels.mat and setid.mat: https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
    )


class CocoSourceConfig(SourceBase):
    """COCO, or any set in its format: an image's class is that of its largest annotation by area."""

    PATHS: ClassVar = ("root", "images", "annotations")

    kind: Literal["coco"] = Field(description="The family of the source.")
    root: str | None = Field(
        None,
        min_length=1,
        description="The folder that holds train2017/, val2017/ and annotations/; "
        "not needed where images and annotations are named.",
    )
    split: Literal["train", "val"] = Field("train", description="Which part of COCO 2017.")
    images: str | None = Field(
        None, min_length=1, description="The folder of images; default: ROOT/train2017 or val2017."
    )
    annotations: str | None = Field(
        None, min_length=1, description="The instances file; default: ROOT/annotations/instances_*2017.json."
    )
    available_from: str = _available_from(
        "train2017.zip, val2017.zip and annotations_trainval2017.zip: https://cocodataset.org/#download"
    )

    def got_from(self) -> str:
        """As of any source; a set of one's own is not to be had where COCO is."""
        own = self.annotations is not None and "available_from" not in self.model_fields_set
        return "" if own else self.available_from

    def fields_of_places(self) -> tuple[str, ...]:
        """As of any source; a set of one's own is looked for by both of its own."""
        return ("root",) if self.images is None else ("images", "annotations")

    @model_validator(mode="after")
    def _images_with_their_annotations(self) -> Self:
        if (self.images is None) is not (self.annotations is None):
            raise ValueError("images and annotations belong together: give both, or neither")
        if self.root is None and self.images is None:
            raise ValueError(
                "root is missing: the folder that holds train2017/, val2017/ and annotations/; "
                "of a set of your own, name images and annotations"
            )
        return self


class VocSourceConfig(SourceBase):
    """Pascal VOC 2012 as distributed: an image's class is that of its largest segmented object."""

    PATHS: ClassVar = ("root",)

    kind: Literal["voc"] = Field(description="The family of the source.")
    root: str = Field(min_length=1, description="VOCdevkit/VOC2012, or a folder above it.")
    split: Literal["train", "val", "trainval"] = Field(
        "train", description="Which list of ImageSets/Segmentation."
    )
    available_from: str = _available_from(
        "VOCtrainval_11-May-2012.tar: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
    )


class HubSourceConfig(SourceBase):
    """Whatever `datasets.load_dataset` opens: a Hub data set, Parquet or Arrow files, an image folder."""

    PATHS: ClassVar = ("id",)

    kind: Literal["hub"] = Field(description="The family of the source.")
    id: str = Field(
        min_length=1, description="A Hub data set (organisation/name), or a local folder or file."
    )
    revision: str | None = Field(
        None, pattern=r"^[\w./-]{1,100}$", description="The commit, tag or branch of a Hub data set."
    )
    config: str | None = Field(
        None, min_length=1, description="The data set's configuration, if it has several."
    )
    split: str = Field("train", pattern=r"^\w[\w.-]*$", description="The data set's split.")
    image: str = Field("image", min_length=1, description="The column of images.")
    label: str = Field("label", min_length=1, description="The column of labels: whole numbers or names.")

    @property
    def is_path(self) -> bool:
        """Whether `id` can be nothing but a path of this machine, as ./cifar is: the Hub has NAME/NAME."""
        parts = self.id.split("/")
        if self.id.startswith("~") or parts[0] in ("", ".") or ".." in parts:
            return True
        return len(parts) > 2 and ":" not in self.id and parts[0] != "buckets"

    @property
    def path(self) -> Path:
        """The file or folder that `id` names, if it is there."""
        return Path(os.path.expanduser(self.id))  # noqa: PTH111 (a folder may well be called ~x)

    @property
    def is_here(self) -> bool:
        """Whether there is such a file or folder on this machine."""
        return os.path.exists(self.path)  # noqa: PTH110 (a name may be too long for any file)

    def places(self) -> dict[str, str]:
        """The local copy, if `id` is one."""
        return super().places() if self.is_path or self.is_here else {}

    def fields_of_places(self) -> tuple[str, ...]:
        """The one field, whether it names a repository of the Hub or a copy."""
        return ("id",)


SOURCES: dict[str, type[SourceBase]] = {
    "digits": DigitsSourceConfig,
    "folder": FolderSourceConfig,
    "listing": ListingSourceConfig,
    "flowers102": Flowers102SourceConfig,
    "coco": CocoSourceConfig,
    "voc": VocSourceConfig,
    "hub": HubSourceConfig,
}
SourceConfig = Annotated[
    DigitsSourceConfig
    | FolderSourceConfig
    | ListingSourceConfig
    | Flowers102SourceConfig
    | CocoSourceConfig
    | VocSourceConfig
    | HubSourceConfig,
    Field(discriminator="kind"),
]

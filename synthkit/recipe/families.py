"""The fields of each family of real images, in addition to those that every source has.

`synthkit/sources/` has a module for each family, which reads its files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from synthkit.recipe.source import SourceBase, available_from_field


class DigitsSourceConfig(SourceBase):
    """scikit-learn's bundled handwritten digits in fixed, disjoint parts (docs/recipes.md)."""

    kind: Literal["digits"] = Field(description="The family of the source.")
    part: Literal["train", "validation", "test", "pretrain", "unseen", "all"] = Field(
        "train",
        description="Which part: long-tailed `train`, balanced `validation` or `test`, `pretrain`, `unseen` "
        "(the 900 that the embedded digits model has not seen), or `all`.",
    )
    max_per_class: int = Field(57, ge=1, le=60, description="Training images of the most frequent class.")
    imbalance_factor: float = Field(
        11.4, ge=1, le=100, description="Images of the most frequent class over those of the rarest."
    )

    def held_out(self) -> dict[str, str] | None:
        """Return the test part for both parts that a classifier or a model may learn from."""
        return {"part": "test"} if self.part in ("train", "pretrain") else None

    @model_validator(mode="after")
    def _only_train_has_a_tail(self) -> Self:
        if self.part in ("unseen", "all"):
            for name in ("max_per_class", "imbalance_factor"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"{name} is of the long tail of part: train; remove it, or choose images of "
                        f"part: {self.part} with shots, long_tail or limit_per_class"
                    )
        return self


class FolderSourceConfig(SourceBase):
    """A folder of images with one sub-folder per class (ImageFolder, Caltech101)."""

    PATHS: ClassVar = ("root",)

    kind: Literal["folder"] = Field(description="The family of the source.")
    root: str = Field(
        min_length=1,
        description="The folder that holds the class folders; relative paths start where the command runs.",
    )


# Names the 1000 classes of ImageNet where a path could stand.
IMAGENET = "imagenet"
# `list[str]` under another name: in the class below, `list` is a field.
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
        """Return the list, the root, and the file of names unless `names` says `imagenet`."""
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
    available_from: str = available_from_field(
        "102flowers.tgz, imagelabels.mat and setid.mat: https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
    )

    def held_out(self) -> dict[str, str] | None:
        """Return the test split for the two others."""
        return {"split": "test"} if self.split in ("train", "valid") else None


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
    available_from: str = available_from_field(
        "train2017.zip, val2017.zip and annotations_trainval2017.zip: https://cocodataset.org/#download"
    )

    def got_from(self) -> str:
        """Return where to get COCO; an empty text for a data set of one's own in its format."""
        own = self.annotations is not None and "available_from" not in self.model_fields_set
        return "" if own else self.available_from

    def fields_of_places(self) -> tuple[str, ...]:
        """Return `root` for COCO, and both fields of a data set of one's own."""
        return ("root",) if self.images is None else ("images", "annotations")

    def held_out(self) -> dict[str, str] | None:
        """Return COCO's own validation split for its training split; another data set is one part."""
        return {"split": "val"} if self.split == "train" and self.annotations is None else None

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
    available_from: str = available_from_field(
        "VOCtrainval_11-May-2012.tar: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
    )

    def held_out(self) -> dict[str, str] | None:
        """Return the validation list for the training list."""
        return {"split": "val"} if self.split == "train" else None


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
        """Whether `id` can only be a path of this machine, as ./cifar: an id of the Hub is NAME/NAME."""
        parts = self.id.split("/")
        if self.id.startswith("~") or parts[0] in ("", ".") or ".." in parts:
            return True
        return len(parts) > 2 and ":" not in self.id and parts[0] != "buckets"

    @property
    def path(self) -> Path:
        """`id` as a path, `~` as the home folder."""
        return Path(os.path.expanduser(self.id))  # noqa: PTH111 (Path.expanduser fails for a folder called ~x)

    @property
    def repository(self) -> str | None:
        """The data set on the Hub, as organisation/name; None for a path, and for a name that may be one."""
        return None if self.is_path or "/" not in self.id else self.id

    @property
    def is_here(self) -> bool:
        """Whether there is such a file or folder on this machine."""
        return os.path.exists(self.path)  # noqa: PTH110 (a name may be too long for any file)

    def places(self) -> dict[str, str]:
        """Return the path in `id`, if it is one of this machine."""
        return super().places() if self.is_path or self.is_here else {}

    def fields_of_places(self) -> tuple[str, ...]:
        """Return `id`, which names a repository of the Hub or a local copy."""
        return ("id",)


_Families = (
    DigitsSourceConfig
    | FolderSourceConfig
    | ListingSourceConfig
    | Flowers102SourceConfig
    | CocoSourceConfig
    | VocSourceConfig
    | HubSourceConfig
)
SourceConfig = Annotated[_Families, Field(discriminator="kind")]
SOURCES: dict[str, type[SourceBase]] = {
    kind: family
    for family in get_args(_Families)
    for kind in get_args(family.model_fields["kind"].annotation)
}

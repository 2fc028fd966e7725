"""Protocols: how a classifier is trained and tested, one small YAML file per benchmark.

Source of the shipped ones: Chen et al. 2025, Table 4 and sections 4.1 and 4.2.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from synthkit.config.section import Section
from synthkit.config.yaml_file import FileKind, load_model
from synthkit.errors import ScoreError, nearest
from synthkit.recipe.digest import is_set
from synthkit.recipe.families import SOURCES
from synthkit.release.loader_batches import Shares
from synthkit.system.files import sha256_of
from synthkit_eval.feature_names import check_features

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = r"^[a-z0-9][a-z0-9_-]{0,95}$"
# Fields that change no classifier. (Where the evaluation images lie changes none either; a score states which
# they are by their digest.)
_NOT_TRAINING = ("summary", "features")
# Fields that came after the first scores, by their dotted names. They enter the digest only where they are
# set to something else than their default, so that finished scores still compare. Every new field goes here.
_LATER_FIELDS = ("frozen_statistics", "batches.real", "batches.synthetic_per_class", "validation")
# What the values of `batches.mixing` were called first: protocols may still say so, and their digests do.
_EARLIER_NAMES = {"pass": "half"}
_FOLDERS = re.compile(r"(?<![\w.-])(~\w*)?/(?:[^\s,}\]\"'/]+/)*(?=[^/])")
_PLACES = frozenset(name for source in SOURCES.values() for name in source.PATHS)


class Optimizer(Section):
    """The optimiser and its learning rate over the epochs."""

    name: Literal["sgd", "adam", "adamw"] = Field("sgd", description="The optimiser.")
    learning_rate: float = Field(gt=0, le=100, description="Learning rate of the first epoch.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd.")
    weight_decay: float = Field(0.0, ge=0, le=1, description="Weight decay.")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="cosine: to 0 over the epochs (Loshchilov and Hutter 2017); or constant."
    )


class Batches(Section):
    """How real and synthetic images share the minibatches."""

    size: int = Field(
        ge=2, le=65536, multiple_of=2, description="Images of a minibatch, real and synthetic together."
    )
    real: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Share of real images in a minibatch; 0: none, synthetic ones alone (real ones alone are "
        "--real-only). With pass it is rounded to whole images, a half up, at least one of each kind.",
    )
    mixing: Literal["pass", "coin"] = Field(
        "pass",
        description="pass: every minibatch has that share of real images, drawn with replacement, and one "
        "shuffled pass over the synthetic ones is an epoch; coin: each image is real with that probability, "
        "and both kinds are drawn with replacement.",
    )
    iterations: int | None = Field(
        None, ge=1, description="Minibatches of an epoch; default: one pass over the synthetic images."
    )

    synthetic_per_class: int | None = Field(
        None,
        ge=1,
        description="How many synthetic images of each class are used: the first ones planned, of a class "
        "with fewer all. Default: all of the release.",
    )

    @field_validator("mixing", mode="before")
    @classmethod
    def _of_its_earlier_name(cls, mixing: object) -> object:
        return next((name for name, earlier in _EARLIER_NAMES.items() if mixing == earlier), mixing)

    @field_validator("real", mode="before")
    @classmethod
    def _not_all(cls, real: object) -> object:
        if real == 1:
            raise ValueError("1 would be real images alone: synthkit eval --real-only trains on these")
        return real

    @model_validator(mode="after")
    def _a_coin_has_no_pass(self) -> Self:
        if (self.mixing == "coin") is (self.iterations is None):
            raise ValueError("mixing: coin needs iterations; mixing: pass passes over the synthetic images")
        return self

    @property
    def shares(self) -> Shares:
        """How many images of a minibatch are real, and how many synthetic; by a coin on average."""
        return Shares.of(self.size, self.real)


# The fields of Batches that say how many images of each kind there are: scores that differ in them compare.
MIXTURE = ("real", "synthetic_per_class")


class ColorJitter(Section):
    """Random changes of colour: factors between 1 - x and 1 + x."""

    brightness: float = Field(0.0, ge=0, le=1, description="Brightness.")
    contrast: float = Field(0.0, ge=0, le=1, description="Contrast.")
    saturation: float = Field(0.0, ge=0, le=1, description="Saturation.")


class Images(Section):
    """What the network sees."""

    size: int = Field(ge=8, le=1024, description="Edge of the network's input in pixels.")
    crop: Literal["random-resized", "padded", "none"] = Field(
        "none",
        description="Training: random-resized (Szegedy 2015), padded (shifted by up to `padding`), or none.",
    )
    scale: tuple[float, float] = Field(
        (0.08, 1.0), description="Share of the image's area in a random-resized crop.", strict=False
    )
    padding: int = Field(4, ge=0, le=64, description="Pixels by which a padded crop is shifted at most.")
    flip: bool = Field(False, description="Training: mirror with probability 1/2.")
    rotation: float = Field(0.0, ge=0, le=180, description="Training: turn by up to so many degrees.")
    color_jitter: ColorJitter = Field(ColorJitter(), description="Training: random changes of colour.")
    evaluation_resize: int | None = Field(
        None,
        ge=8,
        le=2048,
        description="Testing: the shorter edge before the centre crop of `size`; default: the whole image "
        "resized to `size`.",
    )
    mean: tuple[float, float, float] = Field((0.485, 0.456, 0.406), description="Mean of RGB.", strict=False)
    std: tuple[float, float, float] = Field(
        (0.229, 0.224, 0.225), description="Standard deviation of RGB.", strict=False
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError("scale: must be two shares of the area, as [0.08, 1.0]")
        if min(self.std) <= 0:
            raise ValueError("std: must be more than 0")
        if self.evaluation_resize is not None and self.evaluation_resize < self.size:
            raise ValueError(f"evaluation_resize: must be at least size, {self.size}")
        return self


class Protocol(Section):
    """A protocol with every default filled in."""

    name: str = Field(pattern=_NAME, description="Name of the protocol.")
    version: int = Field(ge=1, description="Raised with every change that moves scores.")
    summary: str = Field("", max_length=300, description="One sentence about it.")
    network: str = Field(min_length=1, description="The network, by its name in timm.")
    network_args: dict[str, Any] = Field({}, description="Arguments of timm.create_model beside the classes.")
    small_stem: bool = Field(
        False, description="A ResNet's stem for 32x32 images: a 3x3 convolution, no pooling (He 2016, 4.2)."
    )
    pretrained: bool | str = Field(
        False, description="Start from timm's weights, or from those of a safetensors file."
    )
    trained: Literal["all", "last-layer"] = Field(
        "all", description="last-layer: all other weights stay as they are."
    )
    frozen_statistics: Literal["kept", "updated"] = Field(
        "kept",
        description="Batch normalisation of layers that are not trained. kept: by its statistics as they "
        "are; updated: by those of each minibatch while training, and by their running means while testing.",
    )
    loss: Literal["cross-entropy", "balanced-softmax"] = Field(
        "cross-entropy", description="Balanced Softmax (Ren 2020) knows the real images of each class."
    )
    optimizer: Optimizer = Field(description="How weights are changed.")
    epochs: int = Field(ge=1, le=10_000, description="Epochs.")
    batches: Batches = Field(description="How real and synthetic images share the minibatches.")
    images: Images = Field(description="What the network sees.")
    mixed_precision: bool = Field(True, description="bfloat16 where it is safe, on GPUs only.")
    report: Literal["last", "best", "validation"] = Field(
        "last",
        description="The epoch whose accuracy counts: the last; the best one on the evaluation images, which "
        "then both choose and score (best); or the best one on images of its own (validation).",
    )
    evaluation: dict[str, Any] = Field(
        {},
        description="Where the evaluation images are: fields of the release's source that differ, e.g. "
        "{split: test}; default: the other half, the data set's own part, or all but the shots.",
    )
    validation: dict[str, Any] = Field(
        {},
        description="Where the validation images are that choose the epoch (report: validation), as in "
        "`evaluation`; none of them trains or scores.",
    )
    features: str = Field(
        "builtin:tiny-unclip-digits",
        description="Feature space of the set metrics: builtin:…, inception, timm:NAME, clip:REPO, none.",
    )

    @field_validator("pretrained", mode="wrap")
    @classmethod
    def _weights_or_a_file(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError("must be true, false, or a safetensors file") from None

    @field_validator("features")
    @classmethod
    def _known_features(cls, features: str) -> str:
        try:
            check_features(features)
        except ScoreError as error:
            raise ValueError(str(error)) from None
        return features

    @model_validator(mode="after")
    def _validation_images_are_named(self) -> Self:
        if self.report == "validation" and not self.validation:
            raise ValueError(
                "report: validation needs to know where its images are: validation: {…}, the fields of the "
                "release's source that differ, e.g. {split: validation}"
            )
        return self

    @model_validator(mode="after")
    def _something_is_frozen(self) -> Self:
        if self.frozen_statistics == "updated" and self.trained == "all":
            raise ValueError("frozen_statistics: needs trained: last-layer; else no layer is frozen")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides how a classifier is trained and tested."""
        data = {key: value for key, value in self.settings().items() if key not in _NOT_TRAINING}
        for path in _LATER_FIELDS:
            _leave_out_unset(self, data, path.split("."))
        mixing = self.batches.mixing
        data["batches"]["mixing"] = _EARLIER_NAMES.get(mixing, mixing)
        if isinstance(self.pretrained, str) and Path(self.pretrained).is_file():
            data["pretrained"] = sha256_of(Path(self.pretrained))
        for name in data.keys() & {"evaluation", "validation"}:
            data[name] = {k: v for k, v in getattr(self, name).items() if k not in _PLACES}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    @property
    def kin(self) -> str:
        """Digest without the mixture of real and synthetic images: equal where they alone differ."""
        usual = {name: Batches.model_fields[name].default for name in MIXTURE}
        return self.model_copy(update={"batches": self.batches.model_copy(update=usual)}).digest

    def settings(self) -> dict[str, Any]:
        """Return every setting as plain types; of a path on this machine only its last part."""
        data = self.model_dump(mode="json")
        data["pretrained"] = _last_part(self.pretrained)
        for name in ("evaluation", "validation"):
            data[name] = {key: _last_part(value) for key, value in getattr(self, name).items()}
        return data


_KIND = FileKind(Protocol, "protocol", ScoreError)


def _leave_out_unset(section: Section, data: dict[str, Any], path: Sequence[str]) -> None:
    """Remove a field with its default from the data of a section; `path` leads to it through sections."""
    name, *rest = path
    if rest:
        _leave_out_unset(getattr(section, name), data[name], rest)
    elif not is_set(section, name):
        del data[name]


def _last_part(value: Any) -> Any:
    is_path = isinstance(value, str) and (Path(value).is_absolute() or value.startswith("~"))
    return Path(value).name if is_path else value


def without_places(change: str) -> str:
    """Return a `--set` word as a score may state it: of a path on this machine only its last part."""
    field, equals, value = change.partition("=")
    return f"{field}{equals}{_FOLDERS.sub('', str(_last_part(value)))}"


def shipped(kind: Literal["protocols", "published"]) -> Path:
    """Return the folder of the files that ship: in the package of a wheel, beside it in a clone."""
    inside = Path(__file__).parent / kind
    return inside if inside.is_dir() else Path(__file__).parent.parent / kind


def names() -> list[str]:
    """Return the names of the protocols that ship."""
    return sorted(path.stem for path in shipped("protocols").glob("*.yaml"))


def load_protocol(name: str, overrides: Sequence[str] = ()) -> Protocol:
    """Return a protocol that ships, by its name, or the one in a YAML file.

    Raises ScoreError if there is none, or with the first field that is wrong.
    """
    path = Path(name)
    if path.suffix != ".yaml":
        path = shipped("protocols") / f"{name}.yaml"
        if name not in names():
            near = nearest(name, names(), cutoff=0.6)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ScoreError(
                f"--protocol {name}: there is none of this name; {hint}it is one of {', '.join(names())}, "
                "or a .yaml file of yours"
            )
    return load_model(path, _KIND, overrides)


def usual_protocol(release: str, shots: int | None) -> str:
    """Return the protocol of a release: the longest name of one that its name begins with.

    That of a few-shot release ends in few-shot, and is `few-shot` if there is no other. Raises ScoreError if
    no protocol fits.
    """
    fitting = [name for name in names() if release.replace("_", "-").startswith(name)]
    if shots is not None:
        fitting = [name for name in fitting if name.endswith("few-shot")] or ["few-shot"]
    if not fitting:
        raise ScoreError(f"{release}: say how to score it: --protocol {' | '.join(names())}, or a file")
    return max(fitting, key=len)

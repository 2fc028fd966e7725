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
from synthkit.config.yaml_file import FileKind, load_model, model_of
from synthkit.errors import ScoreError, nearest
from synthkit.recipe.digest import is_set
from synthkit.recipe.families import SOURCES
from synthkit.system.files import sha256_of
from synthkit_eval.feature_names import check_features
from synthkit_eval.sections.augment import MIXING, Mixing, RandAugment
from synthkit_eval.sections.batches import EARLIER_NAMES, MIXTURE, Batches
from synthkit_eval.sections.curriculum import Curriculum
from synthkit_eval.sections.decouple import Decouple
from synthkit_eval.sections.glmc import Glmc
from synthkit_eval.sections.images import Images
from synthkit_eval.sections.losses import LdamDrw, LogitAdjusted
from synthkit_eval.sections.optimizer import Optimizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAME = r"^[a-z0-9][a-z0-9_-]{0,95}$"
# Fields that change no classifier. (Where the evaluation images lie changes none either; a score states which
# they are by their digest.)
_NOT_TRAINING = ("summary", "features")
# Fields that came after the first scores, by their dotted names. They enter the digest only where they are
# set to something else than their default, so that finished scores still compare. Every new field goes here.
_LATER_FIELDS = (
    *("frozen_statistics", "batches.real", "batches.synthetic_per_class", "validation"),
    *("logit_adjusted", "ldam_drw", "synthetic_weight", "augment", "randaugment", "mixup", "cutmix"),
    *("decouple", "glmc", "curriculum"),
)
# The sections of what may be chosen, by the field that chooses and its value.
_SECTIONS_OF = {
    "loss": {"logit-adjusted": "logit_adjusted", "ldam-drw": "ldam_drw"},
    "augment": {name: name for name in ("randaugment", "mixup", "cutmix")},
}
_FOLDERS = re.compile(r"(?<![\w.-])(~\w*)?/(?:[^\s,}\]\"'/]+/)*(?=[^/])")
_PLACES = frozenset(name for source in SOURCES.values() for name in source.PATHS)


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
    loss: Literal["cross-entropy", "balanced-softmax", "logit-adjusted", "ldam-drw"] = Field(
        "cross-entropy",
        description="All but cross-entropy know the number of real images of each class: balanced-softmax "
        "(Ren 2020), logit-adjusted (Menon 2021), ldam-drw (Cao 2019).",
    )
    logit_adjusted: LogitAdjusted = Field(LogitAdjusted(), description="Settings of loss: logit-adjusted.")
    ldam_drw: LdamDrw = Field(LdamDrw(), description="Settings of loss: ldam-drw.")
    synthetic_weight: float = Field(
        1.0,
        ge=0,
        le=100,
        description="Factor of the loss of each synthetic image; real ones have 1 (DiffuLT, Shao 2024).",
    )
    glmc: Glmc | None = Field(
        None,
        description="Each minibatch is mixed with partners in two ways, whose features are made alike, and "
        "rare classes weigh more as epochs go by (Du 2023); default: none of this.",
    )
    augment: Literal["none", "randaugment", "mixup", "cutmix"] = Field(
        "none",
        description="More augmentation, by timm: randaugment (Cubuk 2020) changes each image after its crop; "
        "mixup (Zhang 2018) and cutmix (Yun 2019) mix the images of a minibatch and their classes.",
    )
    randaugment: RandAugment = Field(RandAugment(), description="Settings of augment: randaugment.")
    mixup: Mixing = Field(Mixing(), description="Settings of augment: mixup.")
    cutmix: Mixing = Field(Mixing(), description="Settings of augment: cutmix.")
    optimizer: Optimizer = Field(description="How weights are changed.")
    epochs: int = Field(ge=1, le=10_000, description="Epochs.")
    decouple: Decouple | None = Field(
        None, description="A second stage with frozen features (Kang 2020); default: there is none."
    )
    curriculum: Curriculum | None = Field(
        None,
        description="Which levels of synthetic images train in which epochs (Liang 2025); default: all of "
        "them in every epoch.",
    )
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
    def _sections_are_of_what_is_chosen(self) -> Self:
        for field, sections in _SECTIONS_OF.items():
            for choice, section in sections.items():
                if is_set(self, section) and getattr(self, field) != choice:
                    raise ValueError(f"{section}: belongs to {field}: {choice}; set that, or leave it out")
        return self

    @model_validator(mode="after")
    def _images_are_mixed_once(self) -> Self:
        if self.glmc is not None and self.augment in MIXING:
            raise ValueError(f"glmc: mixes the images itself; leave out augment: {self.augment}")
        if self.glmc is not None and self.trained == "last-layer":
            raise ValueError("glmc: trains features, and needs trained: all")
        mixes = "glmc" if self.glmc is not None else f"augment: {self.augment}" * (self.augment in MIXING)
        if self.loss == "ldam-drw" and mixes:
            raise ValueError(
                f"loss: ldam-drw has a margin for an image's one class, and {mixes} gives an image two; "
                "choose another loss, or do not mix"
            )
        return self

    @model_validator(mode="after")
    def _something_is_frozen(self) -> Self:
        if self.frozen_statistics == "updated" and self.trained == "all":
            raise ValueError("frozen_statistics: needs trained: last-layer; else no layer is frozen")
        return self

    @model_validator(mode="after")
    def _a_second_stage_has_a_first(self) -> Self:
        if self.decouple is None:
            return self
        if self.trained == "last-layer":
            raise ValueError("decouple: needs trained: all; else no stage trains features")
        if self.decouple.epochs > self.epochs:
            raise ValueError(
                f"decouple.epochs: is {self.decouple.epochs}, and the first stage, which trains all weights, "
                f"has {self.epochs}: the second one needs no more"
            )
        if self.decouple.kind == "lws" and self.loss == "ldam-drw":
            raise ValueError(
                "decouple: lws scales each class's weights, which loss: ldam-drw makes all equally long; use "
                "kind: crt"
            )
        return self

    @model_validator(mode="after")
    def _a_curriculum_has_epochs(self) -> Self:
        if self.curriculum is None:
            return self
        last = self.curriculum.last_epochs(self.epochs)
        if last >= self.epochs:
            raise ValueError(
                f"curriculum.real_epochs: is {last}, and epochs is {self.epochs}: none is left for synthetic "
                "images"
            )
        if last and self.batches.real == 0:
            raise ValueError(
                f"curriculum: the last epochs ({last}) have real images alone, and batches.real is 0; set "
                "curriculum.real_epochs: 0"
            )
        if self.decouple is not None:
            raise ValueError("curriculum: the second stage (decouple) has no levels; leave out one of them")
        return self

    @property
    def all_epochs(self) -> int:
        """How many epochs all stages have together."""
        return self.epochs + (0 if self.decouple is None else self.decouple.epochs)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides how a classifier is trained and tested."""
        data = {key: value for key, value in self.settings().items() if key not in _NOT_TRAINING}
        for path in _LATER_FIELDS:
            _leave_out_unset(self, data, path.split("."))
        mixing = self.batches.mixing
        data["batches"]["mixing"] = EARLIER_NAMES.get(mixing, mixing)
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


def load_protocol(name: str | Mapping[str, Any], overrides: Sequence[str] = ()) -> Protocol:
    """Return a protocol that ships, by its name, the one in a YAML file, or the one that a file would hold.

    Raises ScoreError if there is none, or with the first field that is wrong.
    """
    if not isinstance(name, str):
        return model_of(name, _KIND, overrides)
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

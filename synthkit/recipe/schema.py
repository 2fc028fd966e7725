"""The recipe as pydantic models: one YAML file that says everything about a release.

This module has its fields; `recipe/json_schema.py` describes them for editors.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any, Self

from pydantic import (
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from synthkit.conditioning import METHODS
from synthkit.config.section import Section
from synthkit.errors import RecipeError
from synthkit.recipe.arithmetic import STOCK, Arithmetic
from synthkit.recipe.captions import Captions, caption_fault
from synthkit.recipe.conditioning import Conditioning
from synthkit.recipe.digest import fields_in_digest, fields_in_generation_digest, left_out_of_recipe_yaml
from synthkit.recipe.families import SourceConfig
from synthkit.recipe.feedback import feedback_fault
from synthkit.recipe.filters import Filters
from synthkit.recipe.grown import MOST_EARLIER, Earlier, as_earlier, growth_fault
from synthkit.recipe.hub import Hub
from synthkit.recipe.model import Model
from synthkit.recipe.output import Output
from synthkit.recipe.portable import portable_model, portable_path, portable_source
from synthkit.recipe.prompts import (
    Templates,
    brace_fault,
    checked,
    class_fault,
    read_prompts,
)
from synthkit.recipe.retrieval import Retrieval, retrieval_fault
from synthkit.recipe.sampler import Sampler
from synthkit.recipe.tokens import Tokens, token_fault
from synthkit.version import FORMAT_VERSION, RETRIEVED_FORMAT

if TYPE_CHECKING:
    from collections.abc import Sequence

# The formats by what records tell beside what all do, and by whether they tell of candidates.
_FORMATS = {
    ("", False): FORMAT_VERSION,
    ("scale", False): 3,
    ("", True): 4,
    ("scale", True): 5,
    ("strength", False): 6,
    ("strength", True): 7,
}

# The default of `prompt`.
_PROMPT = "{name}"
NAME = r"^[a-z0-9][a-z0-9_-]{0,95}$"
# The Hub's word for a licence that nobody stated.
NO_LICENSE = "unknown"
# Semantic Versioning 2.0.0, with numbers that a computer's whole numbers hold.
_NUMBER = r"(0|[1-9][0-9]{0,17})"
_BEFORE = rf"({_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
SEMVER = (
    rf"^{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_BEFORE}(\.{_BEFORE})*)?"
    r"(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$"
)


class Recipe(Section):
    """A recipe with every default filled in."""

    name: str = Field(
        pattern=NAME,
        description="Name of the release and its folder: lower-case letters, digits, - and _.",
        examples=["digits-lt-augcond"],
    )
    version: str = Field(
        "0.1.0", pattern=SEMVER, description="Semantic version of the release.", examples=["1.0.0"]
    )
    summary: str = Field("", max_length=300, description="One sentence for the card.")
    license: str = Field(
        NO_LICENSE,
        pattern=r"^[a-z0-9][a-z0-9.-]{1,63}$",
        description="Licence of the release, as the Hub spells it: cc-by-4.0, apache-2.0, other … "
        "Without one it cannot be published.",
        examples=["cc-by-4.0"],
    )
    released: str | None = Field(
        None,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        description="The day on which this version is published, for its metadata and its citation.",
        examples=["2026-12-01"],
    )
    source: SourceConfig = Field(description="The real images.")
    prompt: str = Field(
        _PROMPT,
        max_length=500,
        description="The text given to the model; {name} is the class name, its underscores as spaces, "
        "{caption} that of the first real image.",
        examples=["a photo of a {name}"],
    )
    prompts: Templates | str | None = Field(
        None,
        description="In place of prompt: templates like it, of which each image's seed draws one. A list, a "
        "mapping of each class to a list, or the path of a YAML or JSON file with one of them.",
        examples=[["a photo of a {name}", "a drawing of a {name}"]],
    )
    synthetic_per_class: int | None = Field(
        None, ge=1, le=10_000_000, description="Synthetic images of each class, whatever its real ones."
    )
    target_per_class: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        validate_default=True,
        description="Images each class has in the end, real and synthetic together.",
    )
    grown: list[int | Earlier] = Field(
        [],
        max_length=MOST_EARLIER,
        description="What earlier versions of the release asked for, oldest first: targets, or targets with "
        "numbers of classes. Their images stay, and new ones follow; `synthkit grow` writes it.",
        examples=[[100]],
    )
    conditioning: Conditioning = Field(Conditioning(), description="How the conditioning is augmented.")
    captions: Captions | None = Field(
        None,
        validate_default=True,
        description="Captions of the real images, which prompts fill in for {caption}.",
    )
    tokens: Tokens | None = Field(
        None,
        validate_default=True,
        description="How tokens are learned from the real images of each class, for methods whose prompts "
        "have one in place of the class's name.",
    )
    model: Model = Field(description="The image generator.")
    sampler: Sampler = Field(Sampler(), description="How the generator is sampled.")
    arithmetic: Arithmetic = Field(STOCK, description="How the device computes: speed for last bits.")
    filters: Filters | None = Field(
        None, description="Quality gates: which draws are rejected and drawn again, and which are preferred."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="The seed that every image's own seed is derived from.")
    output: Output = Field(Output(), description="How the images are written.")
    retrieval: Retrieval | None = Field(
        None,
        validate_default=True,
        description="For conditioning.method: retrieval: the second source of real images, of which those "
        "nearest to each class take the place of synthetic ones.",
        examples=[{"source": {"kind": "digits", "part": "pretrain"}}],
    )
    hub: Hub = Field(Hub(), description="The Hub repository that the release is meant for.")

    @field_validator("source")
    @classmethod
    def _images_to_condition_on(cls, source: SourceConfig) -> SourceConfig:
        if source.all_but_shots:
            raise ValueError("all_but_shots chooses images to score with, and no release is made from them")
        return source

    @field_validator("released", mode="before")
    @classmethod
    def _day(cls, day: object) -> object:
        """Take a day as YAML reads it, too: without quotes it is no text."""
        if day is None:
            return day
        with suppress(ValueError):
            return date.fromisoformat(str(day)).isoformat()
        raise ValueError("must be a day: year-month-day, as in 2026-12-01")

    @field_validator("prompt")
    @classmethod
    def _can_be_filled_in(cls, prompt: str) -> str:
        if fault := brace_fault(prompt):
            raise ValueError(fault)
        return prompt

    @field_validator("prompts", mode="wrap")
    @classmethod
    def _templates_or_a_file(
        cls, prompts: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        if prompts is None:
            return None
        if info.data.get("prompt", _PROMPT) != _PROMPT:
            raise ValueError(
                "cannot be given together with prompt: remove one of them, or set prompt to '{name}', its "
                "default"
            )
        return handler(prompts if isinstance(prompts, str) and prompts else checked(prompts))

    @field_validator("captions")
    @classmethod
    def _captions_are_filled_in(cls, captions: Captions | None, info: ValidationInfo) -> Captions | None:
        # What a file of prompts says is known when it is read.
        known = {"prompt", "prompts", "conditioning"} <= info.data.keys()
        if known and not isinstance(info.data["prompts"], str):
            method = info.data["conditioning"].method
            if fault := caption_fault(info.data["prompt"], info.data["prompts"], captions, method):
                raise ValueError(fault)
        return captions

    @field_validator("tokens")
    @classmethod
    def _tokens_are_learned(cls, tokens: Tokens | None, info: ValidationInfo) -> Tokens | None:
        if not {"prompt", "prompts", "conditioning"} <= info.data.keys():  # Reported already.
            return tokens
        method = info.data["conditioning"].method
        if not METHODS[method].learns:
            if tokens is None:
                return None
            others = ", ".join(name for name, other in METHODS.items() if other.learns)
            raise ValueError(
                f"are for methods that learn them ({others}), and conditioning.method is {method}"
            )
        prompts = info.data["prompts"]
        if not isinstance(prompts, str) and (fault := token_fault(info.data["prompt"], prompts)):
            raise ValueError(fault)
        return tokens or Tokens()

    @field_validator("target_per_class")
    @classmethod
    def _one_way_to_count(cls, target: int | None, info: ValidationInfo) -> int | None:
        if "synthetic_per_class" not in info.data:
            return target
        if (target is None) is not (info.data["synthetic_per_class"] is None):
            return target
        if target is None:
            description = cls.model_fields["target_per_class"].description
            raise ValueError(f"is missing: {description} Or give synthetic_per_class.")
        raise ValueError("cannot be given together with synthetic_per_class: remove one (or set it to null)")

    @field_validator("grown")
    @classmethod
    def _grows(cls, grown: list[int | Earlier], info: ValidationInfo) -> list[int | Earlier]:
        now = info.data.get("target_per_class") or info.data.get("synthetic_per_class")
        if now is None:  # Reported already.
            return grown
        if fault := growth_fault(grown, now):
            raise ValueError(fault)
        # One spelling for one meaning, since the digest covers it.
        return [item if as_earlier(item).classes is not None else as_earlier(item).target for item in grown]

    @field_validator("sampler")
    @classmethod
    def _one_classifier(cls, sampler: Sampler, info: ValidationInfo) -> Sampler:
        if fault := feedback_fault(sampler.feedback, [*map(as_earlier, info.data.get("grown", []))]):
            raise ValueError(fault)
        return sampler

    @field_validator("retrieval")
    @classmethod
    def _goes_with_the_rest(cls, retrieval: Retrieval | None, info: ValidationInfo) -> Retrieval | None:
        if fault := retrieval_fault(retrieval, info.data):
            raise ValueError(fault)
        return retrieval

    @property
    def earlier(self) -> list[Earlier]:
        """What earlier versions of the release asked for, oldest first."""
        return [as_earlier(item) for item in self.grown]

    def synthetic_for(self, real: int, target: int | None = None) -> int:
        """Return how many synthetic images a class with `real` real images gets.

        `target` is another target than the recipe's: that of an earlier version.
        """
        if self.target_per_class is None:
            return target or self.synthetic_per_class or 0
        return max(0, (target or self.target_per_class) - real)

    @property
    def draws(self) -> int:
        """How many draws are made of every image, of which one is kept; quality gates may ask for more."""
        return 1 if self.filters is None else self.filters.draws

    def templates_for(self, class_name: str) -> list[str]:
        """Return the templates of which each image of a class gets one; none for a class without prompts.

        Raises TypeError if they are in a file that was not read (`with_prompts`).
        """
        if METHODS[self.conditioning.method].retrieves:
            return [""]  # Nothing reads text.
        if self.prompts is None:
            return [self.prompt]
        if isinstance(self.prompts, str):
            raise TypeError(f"the file {self.prompts} of prompts is not read yet")
        return self.prompts if isinstance(self.prompts, list) else self.prompts.get(class_name, [])

    def class_fault(self, classes: Sequence[str]) -> str:
        """Return which class of a source has no prompts, or which prompts no class; an empty text if none."""
        known = None if isinstance(self.prompts, str) else self.prompts
        return "" if known is None else class_fault(known, classes)

    def with_prompts(self) -> Self:
        """Return the recipe with the prompts of the file that it names, and the hash of its captions.

        Raises RecipeError if a file cannot be read, or templates do not go with the rest of the recipe.
        """
        prompts, captions = self.prompts, self.captions
        if isinstance(prompts, str):
            prompts = read_prompts(prompts)
            if fault := caption_fault(self.prompt, prompts, captions, self.conditioning.method):
                raise RecipeError(f"captions: {fault}")
            if self.tokens is not None and (fault := token_fault(self.prompt, prompts)):
                raise RecipeError(f"prompts: {fault}")
        return self.model_copy(update={"prompts": prompts, "captions": captions and captions.hashed()})

    @property
    def format_version(self) -> int:
        """The format that its release is written in: the oldest that can hold what the recipe asks for.

        So a release that asks for nothing new is, byte for byte, what it was before newer formats came.
        """
        if self.retrieval is not None:
            return RETRIEVED_FORMAT
        prefers = self.filters is not None and self.filters.prefer is not None
        # No method has both.
        of_start = "" if self.conditioning.strength is None else "strength"
        return _FORMATS[of_start or ("" if self.conditioning.scale is None else "scale"), prefers]

    def digest(
        self, *, listing_digest: str, model: str, revision: str, form: int | None = None, pool: str = ""
    ) -> str:
        """Return the SHA-256 of all that changes data: fields, real images, model, format.

        `recipe/digest.py` says which fields. `listing_digest` is that of the real images
        (`sources.pool.RealImages.digest`), `revision` is the model's, which is its content; its name is in
        the digest only in format 1. `form` is the release's format, by default the one that it is written in;
        `pool` is the digest of the images that may be retrieved, for a recipe that retrieves.
        Raises RecipeError if the weights of the filters' classifier, the prompts or the captions are needed
        for it and are not here, and SignatureError if the certificate of `output.c2pa` is.
        """
        facts = {
            "format": form or self.format_version,
            "recipe": fields_in_digest(self.pinned()),
            "source": listing_digest,
            "model": [model, revision] if form == 1 else revision,
            **({"pool": pool} if pool else {}),
        }
        return _sha256(facts)

    def generation_digest(self, *, revision: str, pool: str = "") -> str:
        """Return the SHA-256 of all that decides an image, given its class, real images, prompt and seed.

        It leaves out how many images there are, so that it stays as a release grows. Raises what `digest`
        raises.
        """
        facts = {
            "format": self.format_version,
            "generation": fields_in_generation_digest(self.pinned()),
            "model": revision,
            **({"pool": pool} if pool else {}),
        }
        return _sha256(facts)

    def pinned(self) -> Self:
        """Return the recipe with the prompts and the hashes of the files that it names.

        Raises RecipeError or SignatureError if a file is needed for that and is not here.
        """
        sections = {
            "sampler": self.sampler.pinned(),
            "filters": self.filters and self.filters.pinned(),
            "output": self.output.pinned(),
        }
        return self.with_prompts().model_copy(update=sections)

    def portable(self) -> dict[str, Any]:
        """Return the recipe as a release holds it: complete, without paths of this machine.

        Its model is the one that `generators.checkpoint.pinned` gives: a release names its content. A field
        of LATER_FIELDS is left out unless it is set, so that a release is the same byte for byte as one made
        before the field came.
        """
        recipe = self.pinned()
        unset = left_out_of_recipe_yaml(recipe)
        data = recipe.model_dump(mode="json", exclude_none=True, exclude=unset)
        data["model"] = portable_model(self.model).model_dump(
            mode="json", exclude_none=True, exclude=unset.get("model")
        )
        data["source"] = portable_source(self.source, data["source"])
        if self.retrieval is not None:
            pool = self.retrieval.source
            data["retrieval"]["source"] = portable_source(pool, data["retrieval"]["source"])
        if recipe.captions is not None:
            data["captions"]["file"] = portable_path(recipe.captions.file)
        return data


def _sha256(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

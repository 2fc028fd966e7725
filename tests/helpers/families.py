"""Every family of generators in miniature, as the `model` and `sampler` of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from synthkit.conditioning import METHODS
from synthkit.recipe.sampler import STEP_FIELDS
from tests.helpers.miniature_flux import SMALL

FAMILIES = (
    *("unclip", "ip-adapter-sd15", "ip-adapter-plus-sd15", "ip-adapter-sdxl", "ip-adapter-plus-sdxl"),
    *("kandinsky", "flux-redux"),
)


# PyTorch computes many numbers at a time on a CPU, and those left over in another way: in a batch whose rows
# have odd sizes, a row's last bits depend on where it stands. Rows of real models do not have such sizes.
ROUND = 64
# Half of the steps without guidance, and noise on the conditioning.
# A classifier that is trained on the real images.
FEEDBACK = {
    "scale": 300.0,
    "every": 2,
    "classifier": {"network": "test_resnet", "size": 32, "training": {"steps": 2, "batch_size": 4}},
}
AT_STEPS = {"guidance_interval": [0.0, 0.3], "cads": {"tau1": 0.1, "tau2": 0.9, "scale": 0.3}}


class Models(NamedTuple):
    """The folders of the miniatures, as their repositories on the Hub are laid out."""

    sd15: Path
    sdxl: Path
    adapters: Path
    kandinsky: Path
    kandinsky_prior: Path
    schnell: Path
    redux: Path

    def recipe(self, family: str) -> dict[str, Any]:
        """Return what is of a family in a recipe."""
        if family == "unclip":
            return {"model": {"id": "builtin:tiny-unclip-digits"}, "sampler": _sampler("pndm", 2.0)}
        if family == "kandinsky":
            model = {"id": str(self.kandinsky), "encoder": {"id": str(self.kandinsky_prior)}}
            return {"model": model, "sampler": _sampler("unipc", 2.0) | AT_STEPS, "prompt": ""}
        if family == "flux-redux":
            model = {"id": str(self.schnell), "encoder": {"id": str(self.redux)}}
            return {"model": model, "sampler": _sampler("flow-euler", 1.0) | {"size": SMALL}}
        plus, xl = "plus" in family, "sdxl" in family
        stem = f"ip-adapter{'-plus' if plus else ''}_{'sdxl_vit-h' if xl else 'sd15'}"
        model = {
            "id": str(self.sdxl if xl else self.sd15),
            "adapter": {
                "id": str(self.adapters),
                "file": f"{'sdxl_models' if xl else 'models'}/{stem}.safetensors",
            },
            "encoder": {"id": str(self.adapters), "folder": "models/image_encoder"},
        }
        return {"model": model, "sampler": _of_adapter(plus, xl) | ({"size": ROUND} if xl else {})}


def methods_of(family: str) -> list[str]:
    """Return the methods that a family takes: without text, none that the text alone conditions."""
    reads_text = family != "kandinsky"
    learns = family in ("unclip", "ip-adapter-sd15", "ip-adapter-plus-sd15")
    return [
        name
        for name, method in METHODS.items()
        if (reads_text or method.embeds or method.retrieves) and (learns or not method.learns)
    ]


def write_recipe(path: Path, models: Models, family: str, method: str) -> Path:
    """Write a recipe of twelve images in two shards, each of more than one batch."""
    recipe = {
        "name": "small",
        "source": {"kind": "digits", "subset": ["zero", "one"], "max_per_class": 4},
        "synthetic_per_class": 6,
        "conditioning": {"method": method} | begun(method),
        "output": {"shard_size": 6},
        **({"tokens": {"steps": 2, "batch_size": 2, "vectors": 2}} if METHODS[method].learns else {}),
        **models.recipe(family),
    }
    if METHODS[method].retrieves:
        recipe["retrieval"] = {"source": {"kind": "digits", "part": "pretrain", "limit_per_class": 5}}
        # Nothing is sampled, so that these are refused.
        recipe["sampler"] = {
            name: value for name, value in recipe["sampler"].items() if name not in STEP_FIELDS
        }
    path.write_text(yaml.safe_dump(recipe))
    return path


def begun(method: str) -> dict[str, Any]:
    """Return how images begin of a method for which that must be said."""
    return {"strength": {"choices": [0.5, 1.0]}} if METHODS[method].starts else {}


def _of_adapter(plus: bool, xl: bool) -> dict[str, Any]:
    """Return how images of an adapter are sampled: each kind another way."""
    if xl and not plus:
        return _sampler("euler-trailing", 1.0) | {"cache": {"every": 2}}
    at_steps = AT_STEPS if plus else {"feedback": FEEDBACK}
    return _sampler("lcm" if plus and not xl else "pndm", 2.0) | at_steps


def _sampler(scheduler: str, guidance: float) -> dict[str, Any]:
    return {"scheduler": scheduler, "steps": 2, "guidance_scale": guidance, "batch_size": 4}

"""`sampler.cads`: noise on what conditions the conditional rows, as its authors' formula mixes it in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from synthkit.generators.cads import NOISE, annealed, gamma
from synthkit.generators.checkpoint import locate
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Cads, Sampler
from tests.helpers.adapters import SDXL_PLUS, Family, photos
from tests.helpers.families import ROUND
from tests.helpers.generating import load_on_cpu

CADS = Cads(tau1=0.2, tau2=0.6, scale=0.5, psi=0.8)
# Timesteps 751, 501, 251 and 1 of 1000.
SAMPLER = Sampler(scheduler="ddim", steps=4, guidance_scale=3.0, batch_size=2, cads=CADS)
KEPT = [0.0, (0.6 - 0.501) / 0.4, (0.6 - 0.251) / 0.4, 1.0]
PROMPTS, SEEDS = ["zero", "one"], [1, 2**40 + 7]


def plainly(condition: NDArray[np.float32], noise: NDArray[np.float32], kept: float) -> NDArray[np.float64]:
    """Algorithm 2 of the paper, for one row."""
    y = condition.astype(np.float64)
    mixed = np.sqrt(kept) * y + CADS.scale * np.sqrt(1 - kept) * noise
    rescaled = (mixed - mixed.mean()) / mixed.std() * y.std() + y.mean()
    return CADS.psi * rescaled + (1 - CADS.psi) * mixed


@pytest.mark.parametrize(
    ("share", "kept"), [(0.0, 1), (0.2, 1), (0.3, 0.75), (0.4, 0.5), (0.6, 0), (0.999, 0)]
)
def test_how_much_is_kept(share: float, kept: float) -> None:
    assert gamma(CADS, share) == pytest.approx(kept)
    assert kept != 1 or gamma(CADS, share) == 1


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_each_row_is_mixed_as_the_paper_does(kept: float) -> None:
    rng = np.random.default_rng(0)
    rows, noise = (rng.normal(size=(3, 5, 7)).astype(np.float32) for _ in range(2))
    rows[1] *= 10
    made = annealed(torch.from_numpy(rows), torch.from_numpy(noise), kept, CADS).numpy()
    for row in range(3):
        np.testing.assert_allclose(made[row], plainly(rows[row], noise[row], kept), rtol=1e-4, atol=1e-5)


def test_zeros_which_stand_for_no_image_stay_zeros() -> None:
    noise = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    made = annealed(torch.zeros(2, 8), noise, 0.5, CADS.model_copy(update={"psi": 1.0}))
    assert not made.any()


class Seen:
    """What two layers of a denoiser are given, and its latents, at each step of a batch."""

    def __init__(self, generator: Any, sampler: Sampler, layers: dict[str, Any]) -> None:
        self.given: dict[str, list[NDArray[np.float32]]] = {name: [] for name in layers}
        other = generator.resampled(sampler)
        hooks = [layer.register_forward_pre_hook(self._keep(name)) for name, layer in layers.items()]
        self.images = other.generate(generator.embed_images(photos(2)), PROMPTS, SEEDS)
        for hook in hooks:
            hook.remove()

    def _keep(self, name: str) -> Any:
        def keep(layer: object, given: Any) -> None:
            first = given[0][0] if isinstance(given[0], list) else given[0]
            self.given[name].append(first.float().numpy().copy())

        return keep


def expected(plain: list[list[NDArray[np.float32]]]) -> list[list[NDArray[np.float64]]]:
    """Return of each argument at each step what its conditional rows become, in the order of the draws."""
    generators = [torch.Generator().manual_seed(seed ^ NOISE) for seed in SEEDS]
    found: list[list[NDArray[np.float64]]] = [[] for _ in plain]
    for step, kept in enumerate(KEPT):
        for argument, steps in enumerate(plain):
            rows = steps[step][len(SEEDS) :]
            if kept < 1:
                noise = [torch.randn(rows[0].shape, generator=drawn).numpy() for drawn in generators]
                rows = np.stack([plainly(*pair, kept) for pair in zip(rows, noise, strict=True)])
            found[argument].append(rows.astype(np.float64))
    return found


def test_the_embedded_models_text_and_image() -> None:
    generator = load_on_cpu(locate(Model(id="builtin:tiny-unclip-digits")), SAMPLER)
    unet, (width,) = generator.denoiser, generator.embedding_shape
    text = next(part for name, part in unet.named_modules() if name.endswith("attn2.to_k"))
    layers = {"text": text, "image": unet.class_embedding, "latents": unet.conv_in}
    without, made = (
        Seen(generator, sampler, layers) for sampler in (SAMPLER.model_copy(update={"cads": None}), SAMPLER)
    )
    assert (made.images != without.images).any(axis=(1, 2, 3)).all()
    # The same noise to begin with, the same unconditional rows, and the level of noise beside the image.
    assert (made.given["latents"][0] == without.given["latents"][0]).all()
    for name in ("text", "image"):
        assert all((a[:2] == b[:2]).all() for a, b in _steps(made, without, name))
    assert all((a[2:, width:] == b[2:, width:]).all() for a, b in _steps(made, without, "image"))
    texts, images = expected([without.given["text"], [step[:, :width] for step in without.given["image"]]])
    for step in range(4):
        np.testing.assert_allclose(made.given["text"][step][2:], texts[step], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(made.given["image"][step][2:, :width], images[step], rtol=1e-3, atol=1e-4)


def test_an_adapters_tokens_and_what_sums_up_the_text(sd15: Path, sdxl: Path, ip_adapters: Path) -> None:
    family = Family(SDXL_PLUS, sd15, sdxl, ip_adapters)
    generator = family.load(SAMPLER.model_copy(update={"size": ROUND}))
    unet = generator.denoiser
    width = generator._pipeline.text_encoder_2.config.projection_dim
    layers = {"tokens": unet.encoder_hid_proj, "pooled": unet.add_embedding}
    sampler = generator.sampler
    without, made = (
        Seen(generator, how, layers) for how in (sampler.model_copy(update={"cads": None}), sampler)
    )
    for name in layers:
        changed = [(a[2:] != b[2:]).reshape(2, -1).any(axis=1).all() for a, b in _steps(made, without, name)]
        assert changed == [True, True, True, False]
        assert all((a[:2] == b[:2]).all() for a, b in _steps(made, without, name))
    assert all((a[:, width:] == b[:, width:]).all() for a, b in _steps(made, without, "pooled"))


def _steps(made: Seen, without: Seen, name: str) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    return list(zip(made.given[name], without.given[name], strict=True))

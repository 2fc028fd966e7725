"""Tokens that a model learns: by the formula of the paper, frozen weights, and every class by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from synthkit.conformance.builds import BuildCase, replayed, resumed, verified
from synthkit.errors import GeneratorError
from synthkit.generators.checkpoint import locate
from synthkit.generators.lesson import SLOT, Lesson
from synthkit.generators.textual_inversion import _Learner
from synthkit.recipe.load import load
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Sampler
from synthkit.recipe.tokens import Tokens
from tests.helpers.adapters import SD15, SDXL, Family, photos
from tests.helpers.families import Models, write_recipe
from tests.helpers.generating import load_on_cpu

SAMPLER = Sampler(scheduler="ddim", steps=2, guidance_scale=2.0, batch_size=3)
TOKENS = Tokens(steps=2, batch_size=3, learning_rate=0.01, vectors=2)


@pytest.fixture(scope="module")
def unclip() -> Any:
    return load_on_cpu(locate(Model(id="builtin:tiny-unclip-glyphs")), SAMPLER)


@pytest.fixture(scope="module")
def adapter(sd15: Path, ip_adapters: Path) -> Any:
    return Family(SD15, sd15, sd15, ip_adapters).load(SAMPLER)


def lesson(
    pictures: list[Image.Image], tokens: Tokens = TOKENS, begins_as: str = "seven", seed: int = 5
) -> Lesson:
    return Lesson(
        tokens, [f"a {SLOT}"], begins_as, len(pictures), pictures.__getitem__, seed, on_step=lambda: None
    )


def embedded(generator: Any, word: str) -> np.ndarray:
    pipeline = generator._pipeline
    (number,) = pipeline.tokenizer(word, add_special_tokens=False).input_ids
    found: np.ndarray = pipeline.text_encoder.get_input_embeddings().weight[number].detach().numpy()
    return found


@pytest.mark.parametrize("family", ["unclip", "adapter"])
def test_the_same_lesson_gives_the_same_bits_whatever_was_learned_before(
    family: str, request: pytest.FixtureRequest
) -> None:
    generator = request.getfixturevalue(family)
    pictures = photos(3)
    first = generator.learn_token(lesson(pictures))
    other = generator.learn_token(lesson(pictures[:1], begins_as="two"))
    assert first.shape == other.shape == (2, generator._pipeline.text_encoder.config.hidden_size)
    assert first.dtype == np.float32
    assert not np.array_equal(first, other)
    assert np.array_equal(generator.learn_token(lesson(pictures)), first)
    assert not np.array_equal(generator.learn_token(lesson(pictures, seed=6)), first)


def test_all_else_is_frozen(unclip: Any) -> None:
    parts = ("unet", "vae", "text_encoder", "image_encoder", "image_normalizer")
    before = {name: weights_of(unclip, name) for name in parts}
    unclip.learn_token(lesson(photos(2)))
    for name in parts:
        after = weights_of(unclip, name)
        assert all(torch.equal(before[name][key], after[key]) for key in before[name])


def weights_of(generator: Any, part: str) -> dict[str, torch.Tensor]:
    """The weights; of the vocabulary those of its first words, since a token adds some."""
    state = getattr(generator._pipeline, part).state_dict()
    return {name: tensor[:40].clone() for name, tensor in state.items()}


def test_a_token_begins_as_the_mean_of_its_words(unclip: Any) -> None:
    still = TOKENS.model_copy(update={"learning_rate": 1e-12})
    begun = unclip.learn_token(lesson(photos(1), still, begins_as="three seven"))
    mean = (embedded(unclip, "three") + embedded(unclip, "seven")) / 2
    assert np.allclose(begun, [mean, mean], atol=1e-6)
    with pytest.raises(GeneratorError, match=r"tokens.initial_word: is missing; .* no word of ''"):
        unclip.learn_token(lesson(photos(1), begins_as=""))
    assert len(unclip.learn_token(lesson(photos(1), begins_as="<|endoftext|> seven"))) == 2


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_loss_is_that_of_equation_2(unclip: Any, kind: str) -> None:
    """Written out with the noise schedule of the model, for each thing that a model may predict."""
    learner = _Learner(unclip, lesson(photos(1)))
    learner._noising.register_to_config(prediction_type=kind)
    seen: dict[str, torch.Tensor] = {}

    def predicted(noisy: torch.Tensor, timesteps: torch.Tensor, *_: Any) -> torch.Tensor:
        seen.update(noisy=noisy, timesteps=timesteps)
        return torch.zeros_like(noisy)

    unclip._predicted = predicted
    try:
        loss = learner._loss()
    finally:
        del unclip._predicted
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    share = torch.cumprod(1 - betas, 0)[seen["timesteps"]].view(-1, 1, 1, 1)
    clean = learner._latent(0)
    noise = (seen["noisy"] - share.sqrt() * clean) / (1 - share).sqrt()
    wanted = {
        "epsilon": noise,
        "v_prediction": share.sqrt() * noise - (1 - share).sqrt() * clean,
        "sample": clean.expand_as(noise),
    }[kind]
    assert loss.item() == pytest.approx((wanted**2).mean().item(), rel=1e-3)


def test_learning_lowers_the_loss(unclip: Any) -> None:
    """Of the same draws, which a learner of the same seed repeats."""
    tokens = TOKENS.model_copy(update={"steps": 12, "learning_rate": 0.02})

    def mean_loss(learner: Any) -> float:
        learner._draws.manual_seed(9)
        layer = unclip._embedding_layer
        hook = layer.register_forward_hook(learner._put_in)
        with torch.no_grad():
            losses = [learner._loss().item() for _ in range(6)]
        hook.remove()
        return float(np.mean(losses))

    learner = _Learner(unclip, lesson([Image.new("RGB", (32, 32), "white")], tokens))
    before = mean_loss(learner)
    learner._draws.manual_seed(9)
    learner.run()
    assert mean_loss(learner) < before


def test_a_prompt_has_the_vectors_where_the_word_stands(adapter: Any) -> None:
    """As the text encoder makes them of embeddings that are put together here."""
    pipeline = adapter._pipeline
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(2, pipeline.text_encoder.config.hidden_size)).astype(np.float32)
    word = "<token-00112233445566ff>"
    adapter.use_tokens({word: vectors})
    found = adapter._encoded(f"a {word} here")
    ids = [pipeline.tokenizer(text, add_special_tokens=False).input_ids for text in ("a", "here")]
    plain = pipeline.tokenizer("", padding="max_length").input_ids
    row = [plain[0], *ids[0], 0, 0, *ids[1]]
    row += plain[1 : 1 + pipeline.tokenizer.model_max_length - len(row)]
    with torch.no_grad():
        embeddings = pipeline.text_encoder.get_input_embeddings()(torch.tensor([row])).clone()
    at = 1 + len(ids[0])
    embeddings[0, at : at + 2] = torch.from_numpy(vectors)
    hook = pipeline.text_encoder.get_input_embeddings().register_forward_hook(lambda *_: embeddings)
    with torch.no_grad():
        wanted = pipeline.text_encoder(torch.tensor([row])).last_hidden_state[0]
    hook.remove()
    assert torch.allclose(found, wanted, atol=1e-5)
    most = pipeline.tokenizer.model_max_length
    fits = most - 2 - 2
    adapter.check_prompts([f"{word} {'a ' * fits}"])
    with pytest.raises(GeneratorError, match=f"has {most + 1} tokens, the model reads {most}"):
        adapter.check_prompts([f"{word} {'a ' * (fits + 1)}"])


def test_vectors_of_another_text_encoder_are_refused(unclip: Any) -> None:
    with pytest.raises(GeneratorError, match="its vectors have 3 numbers, the text encoder takes"):
        unclip.use_tokens({"<token-0011223344556677>": np.zeros((1, 3), np.float32)})


def test_a_rate_that_leads_nowhere_is_told(unclip: Any) -> None:
    tokens = TOKENS.model_copy(update={"learning_rate": 3e37, "steps": 3})
    with pytest.raises(GeneratorError, match=r"tokens.learning_rate: the token became values that are not"):
        unclip.learn_token(lesson(photos(1), tokens))


def test_families_without_such_a_text_encoder_refuse(
    sdxl: Path, sd15: Path, ip_adapters: Path, models: Models, tmp_path: Path
) -> None:
    for family, wanted in (
        ("ip-adapter-sdxl", "and this model has no text encoder here that could"),
        ("flux-redux", "and this model has no text encoder here that could"),
        ("kandinsky", "fill-up is for models that read text"),
    ):
        recipe = load(write_recipe(tmp_path / "recipe.yaml", models, family, "random-image"))
        conditioning = recipe.conditioning.model_copy(update={"method": "fill-up"})
        with pytest.raises(GeneratorError, match=wanted):
            locate(recipe.model, recipe=recipe.model_copy(update={"conditioning": conditioning}))
    assert Family(SDXL, sd15, sdxl, ip_adapters).kind.cls.LEARNS_TOKENS is False


@pytest.mark.parametrize(
    ("family", "method"),
    [
        pytest.param("unclip", "fill-up", marks=pytest.mark.slow),
        pytest.param("unclip", "da-fusion", marks=pytest.mark.slow),
        pytest.param("ip-adapter-sd15", "da-fusion", marks=pytest.mark.slow),
        pytest.param("ip-adapter-sd15", "fill-up", marks=pytest.mark.slow),
    ],
)
def test_a_release_is_whole_goes_on_and_is_made_again(
    models: Models, tmp_path: Path, family: str, method: str
) -> None:
    recipe = load(write_recipe(tmp_path / "recipe.yaml", models, family, method))
    case = BuildCase(recipe, tmp_path, device="cpu")
    for check in (verified, resumed, replayed):
        check(case)

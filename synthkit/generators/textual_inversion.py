"""Tokens that are learned from images: textual inversion, on a diffusion model with a CLIP text encoder.

The vectors of a token are moved until the frozen model, told a prompt with the token, predicts best what it
was trained to predict of noised images. The image embedding is the null one meanwhile, so that the token has
to say all, as it does when images are made with it.

Source: Gal et al., An Image is Worth One Word: Personalizing Text-to-Image Generation using Textual
Inversion, arXiv 2208.01618, equation 2; diffusers' TextualInversionLoaderMixin, which gives tokenizer and
text encoder their new words.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from synthkit.errors import GeneratorError
from synthkit.generators.diffusers_pipeline import DiffusersGenerator
from synthkit.generators.gradients import same_bits
from synthkit.generators.lesson import SLOT
from synthkit.levels import start_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch
    from numpy.typing import NDArray

    from synthkit.generators.lesson import Lesson

# Of the memory that latents of one class may take; those beyond are encoded again when they are drawn.
_KEPT_BYTES = 1 << 30


class LearnsTokens(DiffusersGenerator):
    """A family whose prompts one CLIP text encoder reads, and condition the denoiser token by token."""

    LEARNS_TOKENS: ClassVar[bool] = True

    def use_tokens(self, tokens: Mapping[str, NDArray[np.float32]]) -> None:
        """Let prompts have new words, each of which stands for its vectors (V, D)."""
        import torch

        if not tokens:
            return
        width = int(self._embedding_layer.weight.shape[1])
        for word, vectors in tokens.items():
            if vectors.shape[1] != width:
                raise GeneratorError(
                    f"{word}: its vectors have {vectors.shape[1]} numbers, the text encoder takes {width}"
                )
        self._pipeline.load_textual_inversion(
            [torch.from_numpy(np.array(vectors)) for vectors in tokens.values()], token=[*tokens]
        )

    def check_prompts(self, prompts: Iterable[str]) -> None:
        """Raise GeneratorError for a prompt that the model would cut off; a learned token counts in full."""
        tokenizer = self._pipeline.tokenizer
        super().check_prompts(self._pipeline.maybe_convert_prompt(prompt, tokenizer) for prompt in prompts)

    def learn_token(self, lesson: Lesson) -> NDArray[np.float32]:
        """Return the vectors (V, D) of a token that is learned from a lesson.

        The model must be loaded in float32, with batches of the lesson's size. Raises OutOfMemory if the
        device cannot hold a batch, and GeneratorError if the token has values that are not numbers.
        """
        with self._enough_memory(), same_bits(self._device):
            return _Learner(self, lesson).run()

    @abstractmethod
    def _predicted(
        self,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        text: torch.Tensor,
        noise: torch.Generator,
    ) -> torch.Tensor:
        """Return what the denoiser predicts of noisy latents (N, C, H, W), with the null image embedding.

        `text` (N, T, W) is what `_encode` made of the prompts; `noise` gives what else is drawn.
        """

    @property
    def _embedding_layer(self) -> Any:
        return self._pipeline.text_encoder.get_input_embeddings()


class _Learner:
    """Learns one token."""

    def __init__(self, generator: LearnsTokens, lesson: Lesson) -> None:
        import torch
        from diffusers import DDPMScheduler

        self._torch, self._generator, self._lesson = torch, generator, lesson
        pipeline = generator._pipeline
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(requires_grad=False)
        if generator._device.type != "cpu" and hasattr(generator.denoiser, "enable_gradient_checkpointing"):
            generator.denoiser.enable_gradient_checkpointing()
        # It has the model's noise, and knows what a network predicts.
        self._noising = DDPMScheduler.from_config(generator._own_scheduler.config)
        self._draws = torch.Generator("cpu").manual_seed(lesson.seed)
        begin = self._beginning()
        if SLOT not in pipeline.tokenizer.get_vocab():
            generator.use_tokens({SLOT: begin.cpu().numpy()})
        names = [SLOT, *(f"{SLOT}_{number}" for number in range(1, len(begin)))]
        self._ids = pipeline.tokenizer.convert_tokens_to_ids(names)
        self._vectors = begin.requires_grad_()
        self._latents: dict[int, torch.Tensor] = {}

    def run(self) -> NDArray[np.float32]:
        """Run all steps."""
        tokens = self._lesson.tokens
        optimiser = self._torch.optim.Adam([self._vectors], lr=tokens.learning_rate)
        hook = self._generator._embedding_layer.register_forward_hook(self._put_in)
        try:
            for _ in range(tokens.steps):
                optimiser.zero_grad()
                self._loss().backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                self._lesson.on_step()
        finally:
            hook.remove()
        learned: NDArray[np.float32] = self._vectors.detach().cpu().numpy()
        if not np.isfinite(learned).all():
            raise GeneratorError(
                "tokens.learning_rate: the token became values that are not numbers: use a lower one than "
                f"{tokens.learning_rate:g}"
            )
        return learned

    def _loss(self) -> torch.Tensor:
        """Return the mean squared error of what the model predicts of one batch (Gal et al., equation 2)."""
        size, device = self._lesson.tokens.batch_size, self._generator._device
        clean = self._torch.stack([self._latent(self._number(self._lesson.images)) for _ in range(size)])
        noise = self._torch.randn(clean.shape, generator=self._draws)
        timesteps = self._torch.randint(
            self._noising.config.num_train_timesteps, (size,), generator=self._draws
        )
        noisy = self._noising.add_noise(clean, noise, timesteps)
        prompts = self._lesson.prompts
        text = self._generator._encode(prompts[self._number(len(prompts))])
        states = text.expand(size, *text.shape)
        predicted = self._generator._predicted(noisy.to(device), timesteps.to(device), states, self._draws)
        wanted = self._wanted(clean, noise, timesteps).to(device)
        # Some networks predict how sure they are, too, in further channels.
        return self._torch.nn.functional.mse_loss(predicted[:, : wanted.shape[1]].float(), wanted)

    def _wanted(self, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return what the model was trained to predict of the noised latents."""
        kind = self._noising.config.prediction_type
        if kind == "epsilon":
            return noise
        if kind == "v_prediction":
            velocity: torch.Tensor = self._noising.get_velocity(clean, noise, timesteps)
            return velocity
        if kind == "sample":
            return clean
        raise GeneratorError(f"tokens: a model that predicts {kind!r:.40} cannot learn them here")

    def _number(self, below: int) -> int:
        return int(self._torch.randint(below, (1,), generator=self._draws))

    def _latent(self, position: int) -> torch.Tensor:
        """Return the latents (C, H, W) of a real image, on the CPU."""
        if position in self._latents:
            return self._latents[position]
        pixels = start_pixels(self._lesson.load(position), self._generator.edge)
        found = self._generator._latents(np.stack([pixels]))[0].cpu()
        if (1 + len(self._latents)) * found.nbytes <= _KEPT_BYTES:
            self._latents[position] = found
        return found

    def _beginning(self) -> torch.Tensor:
        """Return the mean embedding of the words that the token begins as, (V, D), once for each vector.

        What would be read as a control word in them is left out.
        """
        tokenizer, words = self._generator._pipeline.tokenizer, self._lesson.begins_as
        ids = tokenizer(words, add_special_tokens=False).input_ids
        plain = [number for number in ids if number not in tokenizer.all_special_ids]
        if not plain:
            raise GeneratorError(
                f"tokens.initial_word: is missing; the text encoder knows no word of {words[:60]!r}, so a "
                "token cannot begin as that: name a word"
            )
        mean: torch.Tensor = self._generator._embedding_layer.weight[plain].detach().float().mean(dim=0)
        return mean.repeat(self._lesson.tokens.vectors, 1)

    def _put_in(self, layer: object, given: tuple[torch.Tensor, ...], found: torch.Tensor) -> torch.Tensor:
        """Return embeddings (N, T, D) with those of the token where it stands: a forward hook."""
        ids = given[0]
        for number, vector in zip(self._ids, self._vectors, strict=True):
            found = self._torch.where((ids == number).unsqueeze(-1), vector.to(found.dtype), found)
        return found


def of_null(null: NDArray[np.float32], rows: torch.Tensor) -> torch.Tensor:
    """Return the null embedding for each row of a batch, as the rows are."""
    import torch

    return torch.from_numpy(null).to(rows).expand(len(rows), *null.shape)

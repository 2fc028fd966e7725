"""Prompts that the text tower learns, and a tokenizer that knows their words and falls back to bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import CLIPTokenizer

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

MAX_TOKENS = 32
START, END = "<|startoftext|>", "<|endoftext|>"
NOISE_SHARE = 0.2  # of the drawn prompts, those that get a made-up word


@dataclass(frozen=True)
class Language:
    """The names of each class, of which the first is the usual one, and the templates; the first is bare."""

    names: tuple[tuple[str, ...], ...]
    templates: tuple[str, ...]

    def all_prompts(self, label: int) -> list[str]:
        """Every template with every name of the class."""
        return [template.format(name) for name in self.names[label] for template in self.templates]

    def draw(self, label: int, rng: random.Random) -> str:
        """One prompt of a class: in a third its bare name, sometimes with a meaningless word around it.

        The made-up words teach the tower to ignore what it does not know, byte tokens included.
        """
        usual, other = self.names[label][0], self.names[label][-1]
        name = usual if rng.random() < 0.7 else other
        template = self.templates[0] if rng.random() < 1 / 3 else rng.choice(self.templates)
        prompt = template.format(name)
        if rng.random() >= NOISE_SHARE:
            return prompt
        noise = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz-_,.", k=rng.randint(1, 8)))
        return f"{noise} {prompt}" if rng.random() < 0.5 else f"{prompt} {noise}"


def build_tokenizer(language: Language) -> CLIPTokenizer:
    """Return a CLIP tokenizer whose merges make one token of each word of the prompts."""
    words = _words(language)
    symbols = [*_byte_symbols(), *(f"{symbol}</w>" for symbol in _byte_symbols())]
    merges = list(dict.fromkeys(pair for word in words for pair in _merges_of(word)))
    tokens = list(dict.fromkeys([*symbols, *("".join(pair) for pair in merges), START, END]))
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)
    split = [word for word in words if len(tokenizer(word).input_ids) != 3]
    if split:
        raise ValueError(f"these words are not one token each: {split}; reorder or rename them")
    return tokenizer


def _words(language: Language) -> list[str]:
    labels = range(len(language.names))
    text = " ".join(prompt for label in labels for prompt in language.all_prompts(label))
    return [word for word in dict.fromkeys(text.split()) if len(word) > 1]


def _merges_of(word: str) -> Iterator[tuple[str, str]]:
    symbols = [*word[:-1], f"{word[-1]}</w>"]
    for end in range(1, len(symbols)):
        yield "".join(symbols[:end]), symbols[end]


def _byte_symbols() -> list[str]:
    """Return the printable characters by which byte-level BPE writes bytes 0 to 255 (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in printable}
    spare = iter(range(256, 512))
    return [table[byte] if byte in table else chr(next(spare)) for byte in range(256)]

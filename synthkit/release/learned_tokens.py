"""The learned tokens of a release: tokens.safetensors, what each was made from, and its word in prompts.

A token of a class has some vectors in place of embeddings of the text encoder, which were learned from the
class's real images alone (textual inversion: Gal et al. 2022, arXiv 2208.01618). A prompt names it by its
content: the word `<token-…>` has the beginning of the SHA-256 of its vectors. So each record states the token
of its image, and no class's name, whatever it is, reads as a token.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, ValidationError

from synthkit.errors import ReleaseError, one_line
from synthkit.recipe.tokens import TOKEN_WORD
from synthkit.release.facts import Facts, TokenFacts
from synthkit.system.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest

# Bytes; those of 1,000 classes of Stable Diffusion are 4 MB. All of it is read into memory.
MAX_BYTES = 1 << 28
# The key of the metadata in a file's header: of several, the library changes the order from write to write.
_KEY = "synthkit"


class MadeFrom(Facts):
    """What a token was made from: another value of any of these gives another token.

    `pool` is the SHA-256 over the real images of its class, `model` the revision of the model.
    """

    pool: str = Field(pattern=r"^[0-9a-f]{64}$")
    model: str = Field(max_length=64)
    settings: dict[str, str | int | float | None] = Field(max_length=32)

    @property
    def digest(self) -> str:
        """The SHA-256 over all of it, by which a token is known as that of a class of a recipe."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def other(self, wanted: MadeFrom) -> str:
        """Return in words what is other than wanted; an empty text if all is the same."""
        if self.pool != wanted.pool:
            return "other real images"
        if self.model != wanted.model:
            return f"another model ({self.model[:12]}, not {wanted.model[:12]})"
        keys = {**self.settings, **wanted.settings}
        odd = [key for key in keys if self.settings.get(key) != wanted.settings.get(key)]
        return f"other settings ({', '.join(odd)})" if odd else ""


class _Stated(MadeFrom):
    """What a file says of a token: what it was made from, a digest over that, the SHA-256 of its vectors."""

    digest_stated: str
    sha256: str


@dataclass(frozen=True, slots=True)
class LearnedToken:
    """The token of a class: `vectors` (V, D) float32, and what it was made from."""

    vectors: NDArray[np.float32]
    made_from: MadeFrom

    @property
    def sha256(self) -> str:
        """The SHA-256 of the vectors and of their shape."""
        return _sha256(self.vectors)

    @property
    def word(self) -> str:
        """The word that stands for it in prompts."""
        return f"<token-{self.sha256[:16]}>"


Tokens = dict[int, LearnedToken]


def pool_digest(sha256: Iterable[str]) -> str:
    """Return the SHA-256 over the real images of a class, given that of each, in the source's order."""
    return hashlib.sha256("".join(f"{one}\n" for one in sha256).encode()).hexdigest()


def made_from(recipe: Recipe, class_name: str, pool: str, revision: str) -> MadeFrom:
    """Return what the token of a class is made from: `pool` of its images, the model's revision, settings.

    The recipe's prompts are in it (`with_prompts`).
    """
    return MadeFrom(pool=pool, model=revision, settings=_settings(recipe, class_name))


def token_seed(recipe: Recipe, class_name: str) -> int:
    """Return the seed (63 bits) of a class's token, which other classes do not change."""
    raw = hashlib.sha256(f"{recipe.seed}\0token\0{class_name}".encode()).digest()
    return int.from_bytes(raw[:8], "little") >> 1


def begins_as(recipe: Recipe, class_name: str) -> str:
    """Return the words whose mean embedding the token of a class begins as."""
    initial = None if recipe.tokens is None else recipe.tokens.initial_word
    words = initial or class_name.replace("_", " ")
    # A class may be called as a token is.
    return TOKEN_WORD.sub(lambda found: found[0].strip("<>").replace("-", " "), words)


def _settings(recipe: Recipe, class_name: str) -> dict[str, str | int | float | None]:
    tokens, adapter = recipe.tokens, recipe.model.adapter
    if tokens is None:
        raise ValueError(f"{recipe.name}: its method learns no tokens")
    templates = json.dumps(recipe.templates_for(class_name))
    return {
        **tokens.model_dump(include={"steps", "learning_rate", "batch_size", "vectors"}),
        "begins_as": begins_as(recipe, class_name),
        "prompts": hashlib.sha256(templates.encode()).hexdigest(),
        "seed": token_seed(recipe, class_name),
        "size": recipe.sampler.size,
        "noise_level": recipe.sampler.noise_level,
        "adapter_scale": None if adapter is None else adapter.scale,
    }


def tokens_file(tokens: Mapping[int, LearnedToken]) -> bytes:
    """Return a safetensors file of tokens by the labels of their classes: of the same ones the same bytes."""
    from safetensors.numpy import save

    stated = {
        _name(label): {
            **token.made_from.model_dump(mode="json"),
            "digest_stated": token.made_from.digest,
            "sha256": token.sha256,
        }
        for label, token in sorted(tokens.items())
    }
    vectors = {_name(label): np.ascontiguousarray(token.vectors) for label, token in sorted(tokens.items())}
    return bytes(save(vectors, {_KEY: json.dumps(stated, sort_keys=True)}))


def read_tokens(path: Path) -> Tokens:
    """Read the tokens in a file of `tokens_file` by the labels of their classes.

    Raises ReleaseError, which begins with the path, for any other file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file():
            raise ReleaseError(f"{path}: there is no such file")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
        with safe_open(path, framework="np") as opened:
            stated = json.loads((opened.metadata() or {}).get(_KEY, ""))
            if not isinstance(stated, dict) or set(stated) != set(opened.keys()):
                raise ValueError("its header does not say what its tokens were made from")
            return {_label(name): _token(opened.get_tensor(name), stated[name]) for name in sorted(stated)}
    except OSError as error:
        raise ReleaseError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, SafetensorError, RecursionError) as error:
        raise ReleaseError(
            f"{path}: is no file of learned tokens, or a damaged one: {printable(one_line(str(error)))}"
        ) from None


def words_of(tokens: Mapping[int, LearnedToken]) -> dict[int, str]:
    """Return the word of each class's token."""
    return {label: token.word for label, token in tokens.items()}


def vectors_of(tokens: Mapping[int, LearnedToken]) -> dict[str, NDArray[np.float32]]:
    """Return the vectors of each token by its word, as generators take them."""
    return {token.word: token.vectors for token in tokens.values()}


def token_facts(tokens: Mapping[int, LearnedToken], recipe: Recipe) -> TokenFacts | None:
    """Return what the manifest says of learned tokens; None for a method that learns none."""
    if recipe.tokens is None:
        return None
    made = "".join(f"{label} {token.made_from.digest}\n" for label, token in sorted(tokens.items()))
    return TokenFacts(
        classes=len(tokens),
        vectors=recipe.tokens.vectors,
        steps=recipe.tokens.steps,
        sha256=hashlib.sha256(tokens_file(tokens)).hexdigest(),
        made_from=hashlib.sha256(made.encode()).hexdigest(),
    )


def told_tokens(tokens: TokenFacts) -> str:
    """Return what learned tokens are in words."""
    of = "a vector" if tokens.vectors == 1 else f"{tokens.vectors} vectors"
    return (
        f"{of} for each of {tokens.classes:,} classes, learned in {tokens.steps:,} steps from its real images"
    )


def token_faults(tokens: Tokens, recipe: Recipe, manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the tokens of a release by its recipe and manifest.

    The real images of a class are known if the manifest lists the pool.
    """
    wanted = [item.label for item in manifest.classes if item.synthetic]
    if sorted(tokens) != wanted:
        yield f"has tokens of classes {[*tokens]!s:.64}, and the release has images of {wanted!s:.64}"
        return
    pools = _pools(manifest)
    for item in (item for item in manifest.classes if item.label in tokens):
        found = tokens[item.label].made_from
        pool = pools.get(item.label, found.pool)
        odd = found.other(made_from(recipe, item.name, pool, manifest.generator.revision))
        if odd:
            yield f"its token of class {item.label} was learned with {odd}"
    if manifest.tokens != token_facts(tokens, recipe):
        yield "is not the file of tokens that the manifest's tokens tell of"


def _pools(manifest: Manifest) -> dict[int, str]:
    if manifest.source.pool is None:
        return {}
    images: dict[int, list[str]] = {}
    for image in manifest.source.pool:
        images.setdefault(image.label, []).append(image.sha256)
    return {label: pool_digest(sha256) for label, sha256 in images.items()}


def _token(vectors: NDArray[Any], stated: Any) -> LearnedToken:
    try:
        said = _Stated.model_validate(stated)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    found = MadeFrom(pool=said.pool, model=said.model, settings=said.settings)
    if found.digest != said.digest_stated:
        raise ValueError("what its tokens were made from was edited")
    if vectors.dtype != np.float32 or vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError("a token is not vectors of finite float32 numbers")
    if _sha256(vectors) != said.sha256:
        raise ValueError("the vectors of a token are not those that its header states")
    return LearnedToken(vectors, found)


def _sha256(vectors: NDArray[np.float32]) -> str:
    shape = ",".join(map(str, vectors.shape))
    return hashlib.sha256(shape.encode() + b"\0" + vectors.astype("<f4").tobytes()).hexdigest()


def _name(label: int) -> str:
    return f"{label:05d}"


def _label(name: str) -> int:
    if not name.isdecimal() or name != _name(int(name)):
        raise ValueError(f"{name!r:.64} is not the number of a class")
    return int(name)

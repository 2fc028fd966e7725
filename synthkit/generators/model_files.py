"""Which files of a folder or a repository a model is made of: those that its pipeline loads, and no other.

A repository may hold several forms of the same weights (half precision, pickles, ONNX, single-file
checkpoints), a card and pictures. None of them change an image, and copies of a model differ in them. So the
files that count are those that diffusers' `from_pretrained` reads without a variant: model_index.json, and of
each component that it names the configuration, the tokenizer's tables, and the weights in safetensors.
`DiffusersGenerator.read` shows a pipeline these files alone. `model_pieces.py` chooses those of a model whose
parts lie in several places.

Source: diffusers' DiffusionPipeline.from_pretrained, transformers' PreTrainedModel.from_pretrained and
PreTrainedTokenizer.from_pretrained, whose names of files these are.
"""

from __future__ import annotations

import json
import re
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError
from synthkit.recipe.model_content import BESIDE_ENCODER, ENCODER, PIPELINE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

INDEX = "model_index.json"
# Components that no family loads. A safety checker paints images black; quality gates are for that.
NOT_LOADED = frozenset({"safety_checker"})
# A model's configuration. Its weights lie beside it.
CONFIGURATION = "config.json"
_CONFIGURATIONS = (
    *(CONFIGURATION, "scheduler_config.json", "preprocessor_config.json"),
    *("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt"),
)
# How the names of weights begin, by the library of a component. Other libraries are modules of diffusers,
# whose classes may derive from either.
_WEIGHTS = {"diffusers": ("diffusion_pytorch_model",), "transformers": ("model",)}
_ANY_WEIGHTS = ("diffusion_pytorch_model", "model")
_PICKLES = (".bin", ".ckpt", ".pt", ".pth")
MAX_INDEX = 1 << 20
_COMPONENT = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def read_index(content: bytes, model: str) -> dict[str, Any]:
    """Return what a model_index.json says. Raises GeneratorError, which names the model."""
    try:
        index = json.loads(content) if len(content) <= MAX_INDEX else None
        if isinstance(index, dict) and isinstance(index.get("_class_name"), str):
            return index
    except (ValueError, RecursionError):
        pass
    raise no_index(model)


def read_index_of(folder: Path, model: str) -> dict[str, Any]:
    """Return what the model_index.json of a folder says. Raises GeneratorError, which names the model."""
    path = folder / INDEX
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_INDEX:
            return read_index(path.read_bytes(), model)
    except OSError:
        pass
    raise no_index(model)


def no_index(model: str) -> GeneratorError:
    """Return the error for a model without a model_index.json that says what it is."""
    return GeneratorError(
        f"model {model}: has no readable {INDEX}; it must be a folder in the diffusers layout"
    )


def files_of(index: Mapping[str, Any], there: Collection[str]) -> dict[str, str]:
    """Return the files that a pipeline loads of those that are there: each path, and the component's name.

    Paths are relative to the model's folder, with `/`. They come in alphabetical order.
    """
    found = {INDEX: PIPELINE} if INDEX in there else {}
    for component, library in components(index):
        names = {path.removeprefix(f"{component}/") for path in there if path.startswith(f"{component}/")}
        found |= {f"{component}/{name}": component for name in component_files(names, library)}
    return dict(sorted(found.items()))


def component_files(names: Collection[str], library: str = "") -> list[str]:
    """Return the files that a component of a library is made of, of those in its folder.

    Without a library the weights may have the name that either gives them.
    """
    used = [name for name in _CONFIGURATIONS if name in names]
    for stem in _WEIGHTS.get(library, _ANY_WEIGHTS):
        used += _weights(stem, names)
    return used


def unread_weights(names: Collection[str], library: str = "") -> str:
    """Return a file of weights in a component that has none of those that are read; else an empty text.

    It is a variant in safetensors, such as half precision, or else a file that only pickle reads.
    """
    used = component_files(names, library)
    if CONFIGURATION not in used or any(name.endswith(".safetensors") for name in used):
        return ""
    others = sorted(names)
    return next((name for form in (".safetensors", _PICKLES) for name in others if name.endswith(form)), "")


def is_whole(files: Collection[str], weights_elsewhere: str = "") -> bool:
    """Return whether weights lie beside each model's configuration: an interrupted download may lack them.

    `weights_elsewhere` is a component whose weights another place has.
    """
    folders = [path.rpartition("/")[0] for path in files if path.endswith(f"/{CONFIGURATION}")]
    return all(_has_weights(folder, files) for folder in folders if folder != weights_elsewhere)


@contextmanager
def linked(files: Mapping[str, Path]) -> Iterator[Path]:
    """Yield a folder that has a model's own files and no other, as links, for the length of a block.

    `files` are where they lie, by their paths in this folder. So nothing that the model's identity leaves out
    can reach an image.
    """
    with tempfile.TemporaryDirectory(prefix="synthkit-") as temporary:
        for path, place in files.items():
            link = Path(temporary, path)
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(place.resolve())
        yield Path(temporary)


def left_out(index: Mapping[str, Any], folder: Path) -> dict[str, None]:
    """Return the components that a model_index.json names and a family does without, each as None.

    They are those that are never loaded, and those of the image encoder if its place does not have them.
    """
    without = {name for name in (ENCODER, *BESIDE_ENCODER) if not (folder / name).is_dir()}
    return dict.fromkeys(name for name in index if name in NOT_LOADED | without)


def differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Return which files of a model differ from those wanted, in a few words; both map paths to SHA-256."""
    first, *others = [
        *(f"{path} differs" for path in wanted if found.get(path, wanted[path]) != wanted[path]),
        *(f"{path} is missing" for path in wanted if path not in found),
        *(f"{path} is there besides" for path in found if path not in wanted),
        "",
    ]
    return f"{first} and {len(others) - 1} more" if len(others) > 1 else first


def components(index: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of components with their libraries; a component without a class is not there."""
    for name, value in index.items():
        pair = isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)
        if pair and name not in NOT_LOADED and _COMPONENT.fullmatch(name):
            yield name, value[0]


def _weights(stem: str, names: Collection[str]) -> list[str]:
    """Return the files of weights: a single one, or else an index and its shards."""
    if f"{stem}.safetensors" in names:
        return [f"{stem}.safetensors"]
    if f"{stem}.safetensors.index.json" not in names:
        return []
    shard = re.compile(rf"{stem}-[0-9]{{5}}-of-[0-9]{{5}}\.safetensors")
    return [f"{stem}.safetensors.index.json", *(name for name in names if shard.fullmatch(name))]


def _has_weights(folder: str, files: Collection[str]) -> bool:
    weights = [path for path in files if path.startswith(f"{folder}/") and path.endswith(".safetensors")]
    totals = [int(found[1]) for path in weights if (found := re.search(r"-of-(\d{5})\.safetensors$", path))]
    return bool(weights) and (not totals or max(totals) == len(totals))

"""Compares a manifest with what it summarises: the recipe, its own counts, and the records.

Facts that follow from the real images or the model alone, such as their digests, only a replay can check.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from synthkit.conditioning import METHODS, why_unfit
from synthkit.errors import SourceError
from synthkit.release.feedback import feedback_facts
from synthkit.release.files import FILES
from synthkit.release.filter_counts import FilterCounts
from synthkit.release.plan import balance_of, block_counts, block_faults, blocks_of
from synthkit.release.prompts import prompt_facts
from synthkit.sources.base import is_relative_id
from synthkit.sources.pool import digest_of
from synthkit.system.environment import FAMILY, KEYS
from synthkit.system.names import fault_in
from synthkit.verification import model_facts
from synthkit.verification.content_credentials import signer_faults
from synthkit.version import FORMAT_VERSION, __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from synthkit.recipe.schema import Recipe
    from synthkit.release.facts import FilterFacts, PromptFacts
    from synthkit.release.manifest import Manifest

# The parts of the environment that the card quotes; every version of synthkit states them.
STATED = frozenset({"device", "synthkit", "torch", "diffusers"})
# Versions as importlib.metadata gives them (PEP 440); the rest as `environment.describe` writes it.
_VERSION = re.compile(
    r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}((a|b|rc)[0-9]{1,9})?(\.?(post|dev)[0-9]{1,12})*(\+[a-z0-9.]{1,60})?"
)
_WORDS = re.compile(r"[^\x00-\x1f\x7f-\x9f\s][^\x00-\x1f\x7f-\x9f]{0,199}")
_ENVIRONMENT = {
    "device": re.compile(r"none|[a-z]{1,20}(:[0-9]{1,4})?|[a-z]{1,20} \([^\x00-\x1f\x7f-\x9f]{1,180}\)"),
    "machine": re.compile(r"[\w .-]{0,80}"),
    "python": re.compile(r"[0-9]{1,2}\.[0-9]{1,3}"),
    "synthkit": re.compile(r"[0-9A-Za-z.+-]{1,100}"),
}
_LONGEST_REASON = 1000
_SHA256 = re.compile("[0-9a-f]{64}")


def misnamed_files(manifest: Manifest) -> Iterator[str]:
    """Yield the files that the manifest must name and does not, and the names that no release has.

    `pull` fetches nothing before this finds no fault.
    """
    named, shards, form = (
        {file.path for file in manifest.files},
        len(manifest.shards),
        manifest.format_version,
    )
    rows = [file for file in FILES if file.in_manifest]
    wanted = {
        path
        for file in rows
        if file.required
        for path in file.paths(shards, 1 + len(manifest.grown), form, manifest.container)
    }
    optional = [file for file in rows if not file.required]
    for name in sorted(wanted - named):
        yield f"does not name {name}"
    for name in sorted(named - wanted - {file.name for file in optional}):
        yield f"names {name}, which no release has"
    for file in optional:
        stated = getattr(manifest, file.stated_in) is not None
        if (file.name in named) is not stated:
            there = "names" if file.name in named else "does not name"
            yield f"{there} {file.name}, and has {'an' if stated else 'no'} {file.stated_in}"


def own_faults(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with a manifest whatever its recipe: order, totals, pool and environment."""
    for name, times in Counter(file.path for file in manifest.files).items():
        if times > 1:
            yield f"names {name} {times} times"
    paths = list(dict.fromkeys(file.path for file in manifest.files))
    if paths != sorted(paths):
        yield "names files out of order"
    if [item.label for item in manifest.classes] != list(range(len(manifest.classes))):
        yield "does not number its classes 0, 1, 2 …"
    in_shards = sum(shard.images or 0 for shard in manifest.shards)
    in_classes = sum(item.synthetic for item in manifest.classes)
    if not manifest.images == in_shards == in_classes:
        yield f"counts differ: {manifest.images} images, {in_shards} in shards, {in_classes} in classes"
    real = sum(item.real for item in manifest.classes)
    if manifest.source.images != real:
        yield f"says it has {manifest.source.images:,} real images, its classes have {real:,}"
    if not _SHA256.fullmatch(manifest.source.digest):
        yield "has a source.digest that is not a SHA-256"
    yield from signer_faults(manifest)
    yield from _names(manifest)
    yield from _pool(manifest)
    yield from _retrieval(manifest)
    yield from model_facts.own_faults(manifest)
    yield from _embedding(manifest)
    for environment in manifest.environments:
        yield from _environment(environment)
    yield from _grown(manifest)


def _embedding(manifest: Manifest) -> Iterator[str]:
    """Yield why the release's method cannot mix embeddings of the shape that is stated."""
    method, shape = METHODS.get(manifest.method), manifest.generator.embedding
    if method is not None and shape is not None and (why := why_unfit(method, shape)):
        yield f"says generator.embedding is {list(shape)}, and {method.name} cannot mix that: {why}"


def _grown(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the blocks of earlier versions, and with the digest of format 2."""
    if not _SHA256.fullmatch(manifest.generation_digest) and manifest.format_version > 1:
        yield "has a generation_digest that is not a SHA-256"
    for number, (block, shards) in enumerate(zip(manifest.grown, manifest.blocks(), strict=False)):
        images = sum(shard.images or 0 for shard in shards)
        if (block.shards, block.images) != (len(shards), images):
            yield (
                f"says block {number} has {block.images:,} images in {block.shards:,} shards, it lists "
                f"{images:,} in {len(shards):,}"
            )


def _names(manifest: Manifest) -> Iterator[str]:
    for item in manifest.classes:
        if item.real < 1 or item.synthetic < 0:
            yield f"says that class {item.label} has {item.real} real and {item.synthetic} synthetic images"
        if not item.name.strip() or fault_in(item.name):
            yield f"calls class {item.label} {item.name!r:.80}: a name must be there and printable"


def _pool(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the pool of a few-shot release: its counts, ids and digest."""
    source = manifest.source
    if (source.shots is None) is not (source.pool is None) or (source.shots is None) is not (
        source.trial is None
    ):
        yield "has some of source.shots, source.trial and source.pool: a few-shot release has them all"
    if source.pool is None:
        return
    counts = Counter(item.label for item in source.pool)
    if any(counts[item.label] != item.real for item in manifest.classes) or len(counts) > len(
        manifest.classes
    ):
        yield "lists a source.pool whose counts are not the real images of its classes"
    if any(item.real != source.shots for item in manifest.classes):
        yield f"says source.shots is {source.shots}, but classes have other counts of real images"
    odd = [item.id for item in source.pool if not is_relative_id(item.id)]
    if odd or len({item.id for item in source.pool}) != len(source.pool):
        yield f"lists a source.pool with an id that is repeated or invalid: {(odd or ['repeated'])[0]!r:.80}"
    rows = ((item.id, item.label, item.sha256) for item in source.pool)
    digest = digest_of([item.name for item in manifest.classes], rows)
    if digest != source.digest:
        yield f"has source.digest {source.digest[:16]:.16}, its pool and classes have {digest[:16]}"


def _retrieval(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the facts of the pool that images were retrieved from."""
    facts, method = manifest.retrieval, METHODS.get(manifest.method)
    if (facts is not None) is not (method is not None and method.retrieves):
        yield f"{'has' if facts else 'lacks'} retrieval, and its method is {manifest.method:.64}"
    if facts is None:
        return
    if not _SHA256.fullmatch(facts.digest):
        yield "has a retrieval.digest that is not a SHA-256"
    if facts.candidates + facts.own + (facts.held_out or 0) + facts.repeated != facts.images:
        yield f"says that its pool has {facts.images:,} images, and its counts give another number"
    if facts.candidates < manifest.images:
        yield f"says that {facts.candidates:,} images could be retrieved, and has {manifest.images:,}"
    if facts.shots is not None or facts.trial is not None or facts.pool is not None:
        yield "lists images of retrieval, which only a few-shot source does"


def _retrieval_pairs(manifest: Manifest, recipe: Recipe) -> Iterator[tuple[str, object, object]]:
    """Yield what a manifest says of its pool, and what follows from the recipe."""
    facts, retrieval = manifest.retrieval, recipe.retrieval
    if facts is not None and retrieval is not None:
        config = retrieval.source
        yield "retrieval.kind", facts.kind, config.kind
        yield "retrieval.available_from", facts.available_from, config.available_from
        yield "retrieval.repository", facts.repository, config.repository
        if config.on_error == "stop":
            yield "retrieval.skipped", facts.skipped, 0


def _environment(environment: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(STATED - environment.keys()):
        yield f"does not say with which {name} it was made"
    if environment.get("synthkit") == __version__:
        for name in sorted((environment.keys() ^ set(KEYS)) - {FAMILY}):
            if name not in STATED or name in environment:
                yield f"has an environment that {'says' if name in environment else 'lacks'} {name!r:.64}"
    for name, value in environment.items():
        kind = _ENVIRONMENT.get(name, _VERSION if name in KEYS else _WORDS)
        if not kind.fullmatch(value) or not _WORDS.fullmatch(name):
            yield f"says its {name!r:.64} is {value!r:.64}, which is not a version or a device"


def _prompts(manifest: Manifest, recipe: Recipe) -> PromptFacts | None:
    """Return what a manifest must say of prompts; that they fit its classes is checked apart."""
    names = [item.name for item in manifest.classes]
    return manifest.prompts if recipe.class_fault(names) else prompt_facts(recipe, names)


def against_recipe(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Yield what a manifest says differently from its recipe."""
    source, few_shot = recipe.source, recipe.source.shots is not None
    signs, signed = recipe.output.c2pa, manifest.c2pa
    pairs = (
        ("format_version", manifest.format_version, _format(manifest, recipe)),
        ("repo_id", manifest.repo_id, recipe.hub.repo_id),
        ("page", manifest.page, bool(recipe.hub.page)),
        ("method", manifest.method, recipe.conditioning.method),
        ("strength", manifest.strength, recipe.conditioning.strength),
        ("scale", manifest.scale, recipe.conditioning.scale_of_several),
        ("prompts", manifest.prompts, _prompts(manifest, recipe)),
        ("container", manifest.container, recipe.output.container),
        ("extension", manifest.extension, recipe.output.extension),
        ("c2pa", signed and signed.fingerprints, signs and signs.fingerprints),
        ("source.kind", manifest.source.kind, source.kind),
        ("source.available_from", manifest.source.available_from, source.available_from),
        ("source.repository", manifest.source.repository, _repository(manifest, recipe)),
        ("source.shots", manifest.source.shots, source.shots),
        ("source.trial", manifest.source.trial, source.trial if few_shot else None),
        ("feedback", manifest.feedback, feedback_facts(recipe.sampler)),
        *_retrieval_pairs(manifest, recipe),
    )
    for name, said, wanted in pairs:
        if said != wanted:
            yield f"says {name} is {said!s:.64}, by the recipe it is {wanted!s:.64}"
    if fault := recipe.class_fault([item.name for item in manifest.classes]):
        yield f"does not fit its recipe's prompts: {fault}"
    yield from model_facts.against_recipe(manifest, recipe)
    yield from _tokens(manifest, recipe)
    size = recipe.output.size
    if size is not None and (manifest.width, manifest.height) != (size, size):
        yield f"says its images are {manifest.width}x{manifest.height}, by the recipe they are {size}x{size}"
    yield from _counts(manifest, recipe)
    yield from _shards(manifest, recipe)
    yield from _skipped(manifest, recipe)
    if (manifest.filters is None) is not (recipe.filters is None):
        yield (
            "says what quality gates did, which the recipe lacks"
            if manifest.filters
            else ("does not say what the quality gates of its recipe did")
        )


def _tokens(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Yield what a manifest says of learned tokens differently; tokens.safetensors is checked apart."""
    said, learns = manifest.tokens, recipe.tokens
    if said is None or learns is None:
        if (said is None) is not (learns is None):
            yield f"{'has' if said else 'lacks'} tokens, which its recipe {'lacks' if said else 'has'}"
        return
    if (said.vectors, said.steps) != (learns.vectors, learns.steps):
        yield (
            f"says tokens have {said.vectors} vectors of {said.steps} steps, by the recipe it is "
            f"{learns.vectors} of {learns.steps}"
        )


def _format(manifest: Manifest, recipe: Recipe) -> int:
    """Return the format that a release of the recipe has; it may be an old one of format 1."""
    now = recipe.format_version
    return 1 if manifest.format_version == 1 and now == FORMAT_VERSION else now


def _repository(manifest: Manifest, recipe: Recipe) -> str | None:
    """Return the Hub's data set that the recipe names; None in format 1, whose manifests do not state it."""
    return recipe.source.repository if manifest.format_version > 1 else None


def _counts(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Yield groups and counts that do not follow from the recipe and the real images of each class."""
    names, real = [item.name for item in manifest.classes], [item.real for item in manifest.classes]
    wanted = balance_of(recipe, names, real)
    for item, of_recipe in zip(manifest.classes, wanted, strict=True):
        if item.group != of_recipe.group:
            yield f"says class {item.label} is {item.group}, by its real images it is {of_recipe.group}"
        if manifest.partial is None and item.synthetic != of_recipe.synthetic:
            yield (
                f"says class {item.label} has {item.synthetic} synthetic images, with {item.real} real ones "
                f"it has {of_recipe.synthetic}"
            )
    whole = sum(item.synthetic for item in wanted)
    if manifest.partial is not None and manifest.partial.of != whole:
        yield f"says it is a preview of {manifest.partial.of:,} images, the whole has {whole:,}"
    if manifest.images > whole:
        yield f"says it has {manifest.images:,} images, the whole has {whole:,}"
    limit = recipe.source.limit_per_class
    if limit is not None and max(real, default=0) > limit:
        yield f"says a class has {max(real):,} real images, the recipe takes {limit:,} at most"


def _shards(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    real = [item.real for item in manifest.classes]
    try:
        counts = block_counts(recipe, balance_of(recipe, [item.name for item in manifest.classes], real))
    except SourceError as error:
        yield f"does not fit its recipe: {error}"
        return
    if fault := next(block_faults(recipe, counts), None):
        yield f"does not fit its recipe: {fault}"
        return
    blocks = blocks_of(recipe, counts).first(manifest.images)
    if len(manifest.shards) != blocks.shards:
        yield f"has {len(manifest.shards):,} shards, its {manifest.images:,} images fill {blocks.shards:,}"
        return
    for number, shard in enumerate(manifest.shards):
        images = len(blocks.indices(number))
        if shard.images != images:
            yield f"says {shard.path} has {shard.images} images, by the recipe it has {images}"
    said, wanted = [block.images for block in manifest.grown], list(blocks.images[:-1])
    if said != wanted:
        yield f"says its earlier blocks have {said!s:.80} images, by the recipe they have {wanted!s:.80}"


def _skipped(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    if manifest.skipped and recipe.source.on_error != "skip":
        yield "names real images that were skipped, which the recipe does not allow"
    for item in manifest.skipped:
        plain = "\n" not in item.reason and 0 < len(item.reason) <= _LONGEST_REASON
        if not is_relative_id(item.id) or not plain:
            yield f"names a skipped real image in a form that no build writes: {item.id!r:.80}"
    if len({item.id for item in manifest.skipped}) != len(manifest.skipped):
        yield "names a skipped real image twice"


def filter_faults(said: FilterFacts, parts: Sequence[FilterCounts | None]) -> Iterator[str]:
    """Yield a fault if a manifest counts rejected draws differently from the records of all shards."""
    known = [part for part in parts if part is not None]
    if not known:
        return
    whole = FilterCounts(known[0].filters)
    for part in known:
        whole.totals += part.totals
        whole.reasons += part.reasons
    if said != whole.facts():
        yield (
            f"says of its quality gates {said.model_dump(exclude_none=True)!s:.240}, its records say "
            f"{whole.facts().model_dump(exclude_none=True)!s:.240}"
        )

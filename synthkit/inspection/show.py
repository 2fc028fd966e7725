"""Describe a release, or one of its images, in words: what it is, how it was made, from what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from synthkit.conditioning import METHODS
from synthkit.errors import ReleaseError
from synthkit.levels import steps_left, told_amount
from synthkit.recipe.sampler import STEP_FIELDS
from synthkit.release.candidates import draws_told, kept_although_rejected
from synthkit.release.feedback import told_feedback
from synthkit.release.files import MANIFEST, SIGNATURE
from synthkit.release.filter_counts import in_words
from synthkit.release.learned_tokens import told_tokens
from synthkit.release.model_licenses import pieces_of
from synthkit.release.plan import GROUPS
from synthkit.release.prompts import told_counts
from synthkit.release.records import Provenance2, Provenance3, Provenance6, Provenance8, candidates_of
from synthkit.release.signature import parse_signature
from synthkit.system.progress import data_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.recipe.sampler import Sampler
    from synthkit.recipe.schema import Recipe
    from synthkit.release.image import StoredImage
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Candidate, Provenance

Line = tuple[str, str]


def summary(manifest: Manifest, recipe: Recipe, signature: bytes | None = None) -> list[Line]:
    """Return what describes a release, as the name and the text of each line.

    Raises ReleaseError if this synthkit does not know its method.
    """
    if manifest.method not in METHODS:
        raise ReleaseError(f"{MANIFEST}: has method {manifest.method:.64}, which this synthkit does not know")
    size = manifest.size
    partial = f", a preview of {manifest.partial.of:,}" if manifest.partial else ""
    return [
        ("release", f"{manifest.name} {manifest.version}{partial}"),
        *([("about", manifest.summary)] if manifest.summary else []),
        ("images", f"{manifest.images:,} of {len(manifest.classes):,} classes, {_form(manifest)}"),
        *_groups(manifest),
        *_blocks(manifest),
        ("files", f"{len(manifest.files)}, {len(manifest.shards)} of them shards; {data_size(size)}"),
        ("method", _method(manifest)),
        *_amounts(manifest),
        *_tokens(manifest),
        *_prompts(manifest),
        *_retrieved_from(manifest),
        *_sampler(manifest, recipe),
        *_feedback(manifest),
        ("model", f"{manifest.generator.name} at {manifest.generator.revision}, {manifest.generator.dtype}"),
        *_pieces(manifest),
        *_sources(manifest),
        *_judged(manifest),
        *_signer(manifest),
        ("recipe", f"recipe.yaml, digest {manifest.recipe_digest}"),
        ("made with", ", ".join(f"{key} {value}" for key, value in manifest.environment.items())),
        ("licence", manifest.license),
        *([("signature", _signature(signature))] if signature is not None else []),
    ]


def _pieces(manifest: Manifest) -> list[Line]:
    """Return where the pieces of the model beside its base are from."""
    return [
        (piece.field.removeprefix("model."), " at ".join(filter(None, (piece.repository, piece.revision))))
        for piece in pieces_of(manifest.generator)[1:]
    ]


def _prompts(manifest: Manifest) -> list[Line]:
    """Return of how many prompts images drew theirs, if they did or if they have captions."""
    prompts = manifest.prompts
    if prompts is None:
        return []
    captions = f"; captions of SHA-256 {prompts.captions}" if prompts.captions else ""
    return [("prompts", f"{told_counts(prompts.fewest, prompts.most)}{captions}")]


def _sampler(manifest: Manifest, recipe: Recipe) -> list[Line]:
    """Return how images were sampled; nothing if none was."""
    if manifest.retrieval is not None:
        return []
    return [("sampler", f"{_sampling(recipe.sampler)}{_at_steps(recipe.sampler)}; seed {recipe.seed}")]


def _retrieved_from(manifest: Manifest) -> Iterator[Line]:
    """Yield where images were retrieved, and what was left out there, if they were."""
    pool = manifest.retrieval
    if pool is None:
        return
    yield (
        "  from",
        f"{pool.images:,} other real images ({pool.kind}), digest {pool.digest}; their labels not used",
    )
    if pool.available_from:
        yield "  had at", pool.available_from
    held_out = (
        "held-out ones were not here" if pool.held_out is None else f"{pool.held_out:,} held-out images"
    )
    yield "  left out", f"{pool.own:,} training images, {held_out}, {pool.repeated:,} repeated ones"


def _feedback(manifest: Manifest) -> list[Line]:
    """Return how a classifier guided, if one did."""
    facts = manifest.feedback
    return [] if facts is None else [("  guided", f"{told_feedback(facts)}; content {facts.sha256[:16]}")]


def _amounts(manifest: Manifest) -> list[Line]:
    """Return how much starts are noised, if images begin from real ones, and weights that are several."""
    named = (("  strength", manifest.strength), ("  weight", manifest.scale))
    return [(name, told_amount(amount)) for name, amount in named if amount is not None]


def _tokens(manifest: Manifest) -> list[Line]:
    """Return what the tokens in prompts are, if they were learned."""
    tokens = manifest.tokens
    if tokens is None:
        return []
    return [("  tokens", f"{told_tokens(tokens)}; content {tokens.sha256[:16]}")]


def _blocks(manifest: Manifest) -> list[Line]:
    """Return how many images each version added, if the release was grown."""
    if not manifest.grown:
        return []
    earlier = [block.images for block in manifest.grown]
    counts = [f"{images:,}" for images in (*earlier, manifest.images - sum(earlier))]
    return [("grown", f"{', then '.join(counts)} images")]


def _signer(manifest: Manifest) -> list[Line]:
    """Return who signed the images, if they are signed."""
    if manifest.c2pa is None:
        return []
    certificate = f"certificate of SHA-256 {manifest.c2pa.fingerprints[0]}"
    return [("signed", f"each image (C2PA) by {manifest.c2pa.subject}, {certificate}")]


def history(manifest: Manifest, stored: StoredImage) -> list[Line]:
    """Return where one image comes from, as the name and the text of each line."""
    record = stored.record
    return [
        ("image", f"{record.key} of {manifest.name} {manifest.version}"),
        ("class", _class(record)),
        ("method", _method(manifest)),
        *_conditioned_on(record, manifest),
        *_retrieved(record),
        *([] if isinstance(record, Provenance8) else [("sampler", _sampling(record))]),
        *_feedback(manifest),
        ("model", f"{record.model} at {record.revision}"),
        ("seed", _draws(record)),
        *_preferred(record),
        *_scored(record),
        (
            "file",
            f"{stored.shard}: {record.key}.{manifest.extension}, {record.width}x{record.height}, "
            f"{data_size(len(stored.image))}, sha256 {record.image_sha256}",
        ),
        ("made with", f"synthkit {record.version}, digest {record.digest}"),
    ]


def _method(manifest: Manifest) -> str:
    return f"{manifest.method}: {METHODS[manifest.method].formula_for(manifest.generator.embedding)}"


def as_text(lines: list[Line]) -> str:
    """Return the lines as text, their names in a column."""
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)


def _signature(raw: bytes) -> str:
    said = parse_signature(raw)
    if said is None:
        return f"{SIGNATURE} is not one"
    return f"{SIGNATURE} says it is by {said.claim}; synthkit verify --signer WHO checks it"


def _form(manifest: Manifest) -> str:
    return f"{manifest.width}x{manifest.height} {manifest.extension}"


def _groups(manifest: Manifest) -> Iterator[Line]:
    for group in GROUPS:
        members = [item for item in manifest.classes if item.group == group]
        if members:
            real, synthetic = sum(c.real for c in members), sum(c.synthetic for c in members)
            yield (
                f"  {group}",
                f"{len(members):,} classes, {real:,} real and {synthetic:,} {manifest.what} images",
            )


def _sampling(settings: Sampler | Provenance) -> str:
    return (
        f"{settings.scheduler}, {settings.steps} steps, guidance {settings.guidance_scale}, "
        f"noise level {settings.noise_level}, batches of {settings.batch_size}"
    )


def _at_steps(sampler: Sampler) -> str:
    """Return what changes single steps, as a recipe says it."""
    # The manifest says how a classifier guided.
    told = {*STEP_FIELDS} - {"feedback"}
    changes = sampler.model_dump(mode="json", include=told, exclude_none=True)
    return "".join(f", {name} {json.dumps(value)}" for name, value in changes.items()).replace('"', "")


def _sources(manifest: Manifest) -> Iterator[Line]:
    source = manifest.source
    shots = "" if source.shots is None else f"; exactly {source.shots} of each class, trial {source.trial}"
    yield "real images", f"{source.images:,} ({source.kind}), digest {source.digest}{shots}"
    if source.available_from:
        yield "  from", source.available_from
    if manifest.skipped:
        yield "  skipped", f"{len(manifest.skipped):,} that could not be read; manifest.json names them"


def _judged(manifest: Manifest) -> Iterator[Line]:
    """Yield what quality gates and a leak audit found, if the release has them."""
    gates, audit = manifest.filters, manifest.audit
    prefer = gates.prefer if gates is not None else None
    if prefer is not None:
        yield "preferred", in_words(prefer, manifest.images)
    if gates is not None and (prefer is None or gates.rejected_draws):
        reasons = ", ".join(f"{name} {count:,}" for name, count in gates.reasons.items()) or "none"
        yield (
            "gates",
            f"{gates.rejected_draws:,} draws rejected ({reasons}); {gates.redrawn:,} images drawn again, "
            f"{gates.kept_although_rejected:,} kept although no draw passed",
        )
    if audit is not None:
        yield (
            "audit",
            f"{audit.suspected:,} of {audit.images:,} images suspected to copy a real one, "
            f"{audit.exact:,} exactly; {audit.suspected_of_held_out:,} of them one held out",
        )
    if audit is not None and audit.duplicates is not None:
        duplicates = audit.duplicates
        yield (
            "duplicates",
            f"{duplicates.images:,} of {audit.images:,} images in {duplicates.groups:,} groups of near "
            f"duplicates, {duplicates.exact:,} with the same pixels as another",
        )


def _conditioned_on(record: Provenance, manifest: Manifest) -> Iterator[Line]:
    names = ("first", "second")
    for place, source in enumerate(record.sources):
        crop = f", crop at {record.crops[place][:2]} of {record.crops[place][2:]}" if record.crops else ""
        yield f"  {names[place]}", f"{source.id}{crop}, sha256 {source.sha256}"
    if len(record.sources) == 2:
        yield "  mixed", _mixed(record)
    if record.dropout:
        yield "  dropped", _dropped(record, manifest)
    if isinstance(record, Provenance3):
        yield "  weight", f"{record.scale:.3f}, of the image against the text"
    if isinstance(record, Provenance6):
        yield "  begins", _begins(record)


def _class(record: Provenance) -> str:
    prompt = "" if isinstance(record, Provenance8) else f"; prompt {record.prompt!r}"
    return f"{record.label}, {record.class_name}{prompt}"


def _retrieved(record: Provenance) -> Iterator[Line]:
    """Yield which real image it is, and how near to its class, if it was retrieved."""
    if isinstance(record, Provenance8):
        yield (
            "  is",
            f"the real image {record.retrieved_id}, sha256 {record.retrieved_sha256}, resized; not generated",
        )
        yield "  near", f"cosine similarity {record.similarity:g} to the mean of the class's real images"


def _begins(record: Provenance6) -> str:
    left = steps_left(record.steps, record.strength)
    return (
        f"from the first, noised at strength {record.strength:.3f}: the last {left} of {record.steps} steps"
    )


def _dropped(record: Provenance, manifest: Manifest) -> str:
    if record.dropout == 1:
        return "the whole embedding: the class name alone is left"
    what = "coordinate" if manifest.generator.embedding is None else "coordinate, or each token,"
    return f"each {what} of the embedding with probability {record.dropout}"


def _mixed(record: Provenance) -> str:
    share = f"{record.lam:.3f} of the first, {1 - record.lam:.3f} of the second"
    match record.region:
        case [start, stop]:
            return f"{share}: coordinates {start} to {stop} are the second's"
        case [x0, y0, x1, y1]:
            of_patches = METHODS[record.method].embeddings is not None
            what = "box of patches" if of_patches else "box"
            return f"{share}: the {what} from ({x0}, {y0}) to ({x1}, {y1}) is the second's"
    return share


def _scored(record: Provenance) -> Iterator[Line]:
    """Yield the scores by which quality gates judged the image, each on a line of its own."""
    for item in record.scores if isinstance(record, Provenance2) else ():
        yield (
            "  score",
            f"{item.name} {item.value:g}" + (f", nearest is {item.nearest}" if item.nearest else ""),
        )


def _draws(record: Provenance) -> str:
    if candidates_of(record) is not None:
        return f"{record.seed}, draw {record.attempt + 1} of {draws_told(record)}"
    if not record.attempt:
        return f"{record.seed}"
    earlier, last = "; ".join(record.rejected[: record.attempt]), record.rejected[record.attempt :]
    kept = f"; this one too ({last[0]}), but it is the last that the recipe allows" if last else ""
    return f"{record.seed}, draw {record.attempt + 1}: earlier ones were rejected ({earlier}){kept}"


def _preferred(record: Provenance) -> Iterator[Line]:
    """Yield why this draw was kept of several, and what the classifier said of each, if one chose."""
    candidates = candidates_of(record)
    if candidates is None:
        return
    right = sum(item.rank == 1 for item in candidates)
    if kept_although_rejected(record):
        yield "  kept", "the last that the recipe allows: quality gates rejected all"
    elif right:
        yield "  kept", f"the one that the classifier is least sure of, among {right:,} that it finds right"
    else:
        yield "  kept", f"the most probable of {len(candidates):,}: the classifier finds none right"
    reasons, by_attempt = iter(record.rejected), {item.attempt: item for item in candidates}
    for attempt in range(draws_told(record)):
        item = by_attempt.get(attempt)
        yield (
            f"  draw {attempt + 1}",
            f"rejected ({next(reasons, '')})" if item is None else _classified(item),
        )


def _classified(item: Candidate) -> str:
    """Return what the classifier says of a candidate."""
    right = "right" if item.rank == 1 else f"its class is choice {item.rank:,}"
    return f"{right}, log-odds {item.log_odds:.3f}, probability {item.probability:.6f}"

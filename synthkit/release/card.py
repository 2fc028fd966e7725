"""The dataset card, README.md of a release: a pure function of the manifest and one record."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from synthkit.conditioning import METHODS
from synthkit.levels import told_amount
from synthkit.recipe.families import SOURCES
from synthkit.release import markdown
from synthkit.release.citation import about, data_set, paper_of
from synthkit.release.feedback import told_feedback
from synthkit.release.files import FILES, RECORDS, SPLIT
from synthkit.release.filter_counts import in_words
from synthkit.release.front_matter import front_matter
from synthkit.release.hub_address import dataset_url, is_repository, model_url, page_space, space_url
from synthkit.release.learned_tokens import told_tokens
from synthkit.release.licenses import license_url
from synthkit.release.model_licenses import pieces_of, reaching, restricting
from synthkit.release.prompts import told_counts

if TYPE_CHECKING:
    import jinja2

    from synthkit.release.facts import SourceFacts
    from synthkit.release.manifest import Manifest
    from synthkit.release.model_licenses import LicensedPiece

# What a card calls the pieces of a model.
_PIECES = {
    "model": "model",
    "model.adapter": "adapter",
    "model.encoder": "image encoder",
    "model.unet": "UNet",
}
# The bytes of tars that the Hub's viewer shows (huggingface.co/docs/hub/data-studio).
_VIEWED = 5_000_000_000


class Loading(NamedTuple):
    """How a release is named where it is loaded, and the columns that `datasets` gives it.

    `repository` is its repository on the Hub, if it is published; `address` that, else its usual `folder`.
    `revision_argument` is its tag, as an argument of `load_dataset`; `reference` names it for synthkit.
    """

    repository: str | None
    folder: str
    address: str
    revision_argument: str
    reference: str
    image_column: str
    label_column: str


def loading_of(manifest: Manifest) -> Loading:
    """Return how a release is named where it is loaded."""
    repository, parquet = _repository(manifest), manifest.container == "parquet"
    folder = f"releases/{manifest.name}" + ("-preview" if manifest.partial else "")
    address = repository or folder
    return Loading(
        repository,
        folder,
        address,
        revision_argument=f'revision="v{manifest.version}", ' if repository else "",
        reference=f"{address}@v{manifest.version}" if repository else address,
        image_column="image" if parquet else manifest.extension,
        label_column="label" if parquet else "cls",
    )


def render_card(manifest: Manifest, example: dict[str, Any]) -> str:
    """Return the card's Markdown, with the YAML front matter that the Hub and `datasets` read."""
    loading = loading_of(manifest)
    parquet = manifest.container == "parquet"
    base, *others = pieces_of(manifest.generator)
    return _template().render(
        m=manifest,
        example=example,
        example_json=json.dumps(example, indent=2),
        front_matter=yaml.safe_dump(front_matter(manifest), sort_keys=False, allow_unicode=True),
        repository=loading.repository,
        page=space_url(page_space(loading.repository)) if manifest.page and loading.repository else "",
        folder=loading.folder,
        address=loading.address,
        revision_argument=loading.revision_argument,
        reference=loading.reference,
        places=_places(manifest),
        shard_pattern=_shard_pattern(manifest),
        image_column=loading.image_column,
        label_column=loading.label_column,
        tables=RECORDS,
        partly_viewed=not parquet and sum(shard.bytes for shard in manifest.shards) > _VIEWED,
        files=[file for file in FILES if file.in_card],
        method=METHODS[manifest.method],
        formula=METHODS[manifest.method].formula_for(manifest.generator.embedding),
        strength=manifest.strength and told_amount(manifest.strength),
        scale=manifest.scale and told_amount(manifest.scale),
        tokens=manifest.tokens and told_tokens(manifest.tokens),
        feedback=manifest.feedback and told_feedback(manifest.feedback),
        prompts=manifest.prompts and told_counts(manifest.prompts.fewest, manifest.prompts.most),
        preferred=_preferred(manifest),
        about=about(manifest),
        source_link=_source_link(manifest.source),
        pool_link="" if manifest.retrieval is None else _source_link(manifest.retrieval),
        model_link=_link(base),
        model_license=_license(base.license),
        pieces=[(_PIECES[piece.field], _link(piece), _license(piece.license)) for piece in others],
        restricting=[(_PIECES[piece.field], piece) for piece in restricting(reaching(manifest))],
        license=_license(manifest.license),
        paper=paper_of(manifest.method),
        citations=[data_set(manifest), paper_of(manifest.method).bibtex],
    )


@cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 (Markdown, not HTML)
        loader=jinja2.PackageLoader("synthkit.release", "."),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    environment.filters["cell"] = markdown.cell
    environment.filters["name"] = markdown.name
    environment.filters["quoted"] = markdown.quoted
    environment.filters["sentence"] = markdown.sentence
    environment.filters["number"] = "{:,}".format
    return environment.get_template("card.md.jinja")


def _repository(manifest: Manifest) -> str | None:
    """Return the repository that the release is published in; None for a preview or one without."""
    if manifest.repo_id is None or manifest.partial is not None or not is_repository(manifest.repo_id):
        return None
    return manifest.repo_id


def _places(manifest: Manifest) -> str:
    """Return the arguments with which `synthkit.real` is told where this kind of source lies."""
    source = SOURCES.get(manifest.source.kind)
    return "" if source is None else "".join(f', {place}="…"' for place in source.PATHS)


def _shard_pattern(manifest: Manifest) -> str:
    """Return the names of all shards as `webdataset` takes them: `train-{00000..00006}.tar`."""
    first, last = f"{0:05d}", f"{len(manifest.shards) - 1:05d}"
    return f"{SPLIT}-{first if first == last else f'{{{first}..{last}}}'}.tar"


def _preferred(manifest: Manifest) -> str:
    """Return how images were chosen among draws; an empty text if they were not."""
    if manifest.filters is None or manifest.filters.prefer is None:
        return ""
    return in_words(manifest.filters.prefer, manifest.images)


def _source_link(source: SourceFacts) -> str:
    repository = source.repository
    return f"[{repository}]({dataset_url(repository)})" if repository and is_repository(repository) else ""


def _link(piece: LicensedPiece) -> str:
    """Return the repository of a piece of the model as Markdown, as a link if its commit is known."""
    name = markdown.quoted(piece.repository)
    address = model_url(piece.repository, piece.revision)
    return f"[{name}]({address})" if address else name


def _license(word: str) -> str:
    """Return a licence as Markdown, as a link if its text has an address."""
    if not word:
        return "not known"
    url = license_url(word)
    return f"[{markdown.quoted(word)}]({url})" if url != word else markdown.quoted(word)

"""What a release was derived from and what generated it, in the terms of PROV-O, for croissant.json.

Source: W3C, PROV-O: The PROV Ontology; MLCommons Croissant 1.1, "Provenance Representation".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkit.conditioning import METHODS
from synthkit.release.files import RECIPE
from synthkit.release.hub_address import dataset_url, is_repository, model_url
from synthkit.release.licenses import license_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.release.facts import GeneratorFacts, PartFacts, SourceFacts
    from synthkit.release.manifest import Manifest


def derived_from(manifest: Manifest) -> list[dict[str, Any]]:
    """Return what the images come from: the real images, if the method takes any, and the model's files."""
    takes = METHODS[manifest.method].sources or manifest.retrieval is not None
    real = [_real_images(manifest.source)] if takes else []
    if manifest.retrieval is not None:
        real.insert(0, _real_images(manifest.retrieval))
    return [*real, *_model(manifest.generator)]


def generated_by(manifest: Manifest) -> list[dict[str, Any]]:
    """Return what made the images: one activity for each block that the release grew by."""
    sizes = [sum(shard.images or 0 for shard in block) for block in manifest.blocks()]
    activities = zip(sizes, manifest.environments, strict=True)
    return [_activity(manifest, images, environment) for images, environment in activities]


def _real_images(source: SourceFacts) -> dict[str, Any]:
    known = source.repository is not None and is_repository(source.repository)
    return {
        **({"@id": dataset_url(str(source.repository))} if known else {}),
        "@type": "prov:Entity",
        "prov:label": f"{source.images:,} real images ({source.kind})",
        "description": source.available_from or "Where the real images can be had is not stated.",
        "identifier": f"sha256:{source.digest}",
    }


def _model(generator: GeneratorFacts) -> Iterator[dict[str, Any]]:
    if not generator.parts:
        # A model that ships inside synthkit.
        yield {
            "@type": "prov:Entity",
            "prov:label": f"the model {generator.name}",
            "identifier": f"sha256:{generator.revision}",
            **_license(generator.license),
        }
    yield from map(_part, generator.parts)


def _part(part: PartFacts) -> dict[str, Any]:
    address = model_url(part.repository, part.revision, part.file)
    return {
        **({"@id": address} if address else {}),
        "@type": "prov:Entity",
        "prov:label": f"{part.file} ({part.role}) of the model {part.repository}",
        "contentSize": f"{part.bytes} B",
        "sha256": part.sha256,
        **_license(part.license),
    }


def _license(word: str) -> dict[str, str]:
    return {"license": license_url(word)} if word else {}


def _activity(manifest: Manifest, images: int, environment: dict[str, str]) -> dict[str, Any]:
    formula = METHODS[manifest.method].formula_for(manifest.generator.embedding)
    what = "Generation" if manifest.retrieval is None else "Retrieval"
    made_with = ", ".join(f"{name} {version}" for name, version in environment.items())
    return {
        "@type": "prov:Activity",
        "prov:label": f"{what} of {images:,} images by {manifest.method}",
        "description": f"{formula}. Made with {made_with}.",
        "prov:used": {
            "@type": "prov:Entity",
            "prov:label": f"{RECIPE}, which makes the same images again",
            "identifier": [
                f"recipe digest sha256:{manifest.recipe_digest}",
                # Format 1 knows none.
                *([f"generation digest sha256:{digest}"] if (digest := manifest.generation_digest) else []),
            ],
        },
        "prov:wasAssociatedWith": {
            "@type": "prov:SoftwareAgent",
            "prov:label": f"synthkit {environment.get('synthkit', '')}".rstrip(),
        },
    }

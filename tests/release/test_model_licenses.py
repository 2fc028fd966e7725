"""What the licences of a model mean for a release, piece by piece."""

from __future__ import annotations

import pytest

from synthkit.release.facts import GeneratorFacts, PartFacts
from synthkit.release.model_licenses import consequence_of, pieces_of, restricting


def part(role: str, repository: str, file: str, license: str) -> PartFacts:
    return PartFacts(
        role=role,
        repository=repository,
        revision="a" * 40,
        file=file,
        bytes=1,
        sha256="0" * 64,
        license=license,
    )


BASE = [
    part("pipeline", "lab/schnell", "model_index.json", "apache-2.0"),
    part("unet", "lab/schnell", "unet/config.json", "apache-2.0"),
]
FLUX = "flux-1-dev-non-commercial-license"


def model(*parts: PartFacts) -> GeneratorFacts:
    return GeneratorFacts(
        name="lab/schnell", revision="0" * 64, dtype="float32", license="apache-2.0", parts=[*BASE, *parts]
    )


@pytest.mark.parametrize(
    ("license", "restricts"),
    [
        ("apache-2.0", False),
        ("MIT", False),
        ("creativeml-openrail-m", False),
        ("openrail++", False),
        ("bigscience-openrail-m", False),
        (FLUX, True),
        ("Flux-1-Dev-Non-Commercial-License", True),
        ("flux-1-dev-nc", True),
        ("flux-dev-non-commercial-license", True),
        ("flux-non-commercial-license", True),
        ("stabilityai-ai-community", True),
        ("sai-nc-community", True),
        ("stable-cascade-nc-community", True),
        ("deepfloyd-if-license", True),
        ("kolors", True),
        ("cc-by-nc-sa-4.0", True),
        ("some-house-non-commercial", True),
        ("houses-own-2", None),
        ("other", None),
        ("", None),
    ],
)
def test_whether_a_licence_restricts_training_on_the_images(license: str, restricts: bool | None) -> None:
    consequence = consequence_of(license)
    assert consequence.restricts is restricts
    assert consequence.line and "\n" not in consequence.line


def test_one_piece_restricts_the_whole() -> None:
    redux = part("image_embedder", "lab/redux", "image_embedder/config.json", FLUX)
    encoder = part("image_encoder", "lab/redux", "image_encoder/config.json", FLUX)
    assert restricting(pieces_of(model())) == []
    assert [piece.field for piece in restricting(pieces_of(model(redux, encoder)))] == ["model.encoder"]
    # Pinned by its content, a piece has only the licence that its recipe states.
    unstated = part("image_embedder", "black-forest-labs/FLUX.1-Redux-dev", "image_embedder/config.json", "")
    (piece,) = restricting(pieces_of(model(unstated)))
    assert (piece.field, piece.license) == ("model.encoder", FLUX)
    # In a folder that is called as the base's is: local folders may be.
    namesake = part("image_encoder", "lab/schnell", "image_encoder/config.json", FLUX)
    assert [piece.field for piece in restricting(pieces_of(model(namesake, *BASE)))] == ["model.encoder"]


def test_the_pieces_of_a_model() -> None:
    others = [
        part("adapter", "lab/adapters", "models/plain.safetensors", "mit"),
        part("image_encoder", "lab/adapters", "models/image_encoder/config.json", "openrail"),
        part("unet", "lab/few", "few_4step.safetensors", "openrail++"),
    ]
    assert [(piece.field, piece.repository, piece.license) for piece in pieces_of(model(*others))] == [
        ("model", "lab/schnell", "apache-2.0"),
        ("model.adapter", "lab/adapters", "mit"),
        ("model.encoder", "lab/adapters", "openrail"),
        ("model.unet", "lab/few", "openrail++"),
    ]
    # An adapter that lies in the base's own repository is a piece of its own, too.
    own = part("adapter", "lab/schnell", "adapter/adapter.safetensors", "mit")
    assert [piece.field for piece in pieces_of(model(own))] == ["model", "model.adapter"]

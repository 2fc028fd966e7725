"""A record, for tests that need one and no release."""

from __future__ import annotations

from synthkit.release.records import Provenance2
from synthkit.sources.base import SourceImage

RECORD = Provenance2(
    key="000000000",
    label=2,
    class_name="two",
    prompt="a photo of a two",
    method="embed-cutmix-dropout",
    sources=(SourceImage("digits/0956", "5" * 64), SourceImage("digits/1159", "6" * 64)),
    lam=0.546875,
    region=(0, 58),
    crops=(),
    dropout=0.4,
    guidance_scale=2.0,
    steps=25,
    scheduler="pndm",
    noise_level=0,
    seed=4071737887200111292,
    model="builtin:tiny-unclip-digits",
    revision="a" * 64,
    batch_size=32,
    width=32,
    height=24,
    image_sha256="b" * 64,
    attempt=0,
    rejected=(),
    scores=(),
    generation_digest="c" * 64,
    synthkit_version="0.2.0",
)

import json
import os
import shutil
import threading
import time
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from PIL import Image

from synthkit.builder.embeddings import compute, embed, kept_in, read_array, write_array
from synthkit.builder.inputs import read_inputs
from synthkit.errors import SourceError
from synthkit.generators import load
from synthkit.generators.checkpoint import find_local
from synthkit.generators.model_files import INDEX
from synthkit.recipe.load import load as load_recipe
from synthkit.recipe.model import Model
from synthkit.release.shards import Origin
from synthkit.sources.base import Listing
from synthkit.sources.pool import read_all
from synthkit.system.known_hashes import KnownHashes
from tests.conftest import FLAT, Cli

BATCH = 4


@dataclass
class Greys:
    """Grey images, number k of brightness k; `changed` ones are not what they were when first read."""

    count: int
    changed: frozenset[int] = frozenset()
    loaded: int = 0
    embedded: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def listing(self):
        names = tuple(f"grey/{k}" for k in range(self.count))
        return Listing(("grey",), names, np.zeros(self.count, dtype=np.int32))

    def stamp(self, index):
        return f"{index}{' again' if self.loaded and index in self.changed else ''}"

    def read(self, index):
        return bytes([index])

    def decode(self, index, content):
        with self.lock:
            self.loaded += 1
            self.most = max(self.most, self.loaded - self.embedded)
        return Image.new("RGB", (2, 2), (content[0],) * 3)


@dataclass
class Brightness:
    """An image's embedding is its brightness."""

    source: Greys
    embedding_shape: tuple = (1,)

    def embed_images(self, images):
        found = np.array([[image.getpixel((0, 0))[0]] for image in images], dtype=np.float32)
        with self.source.lock:
            self.source.embedded += len(images)
        return found


def real(source):
    images = read_all(source, on_error="stop", known_hashes=KnownHashes(), advance=lambda count: None)
    source.loaded = source.most = 0
    return images


def test_every_image_has_its_own_embedding_and_those_not_asked_for_have_none():
    source = Greys(100)
    positions = np.arange(1, 100, 2, dtype=np.int32)
    told = []
    embeddings = compute(real(source), positions, Brightness(source), BATCH, told.append)
    assert embeddings.shape == (100, 1)
    assert embeddings[:, 0].tolist() == [k if k % 2 else 0 for k in range(100)]
    assert told == [4] * 12 + [2]


def test_no_more_than_two_batches_are_in_memory():
    source = Greys(200)
    compute(real(source), np.arange(200, dtype=np.int32), Brightness(source), BATCH, lambda count: None)
    assert source.loaded == 200
    assert source.most <= 2 * BATCH + 1


def test_an_image_that_changed_meanwhile_is_named_and_the_rest_is_left():
    source = Greys(200, changed=frozenset({9}))
    images = real(source)
    source.loaded = 1
    with pytest.raises(SourceError, match="grey/9: changed while the build was running"):
        compute(images, np.arange(200, dtype=np.int32), Brightness(source), BATCH, lambda count: None)
    assert source.loaded < 30


def test_kept_embeddings_serve_those_who_ask_for_the_same_images(tmp_path):
    images, told = real(Greys(8)), []

    def at(*positions):
        asked = np.array(positions, dtype=np.int32)
        path = tmp_path / f"{positions}.npy"
        return embed(images, asked, Brightness(images.source), path, BATCH, told.append)[:, 0].tolist()

    assert at(1, 2) == [0, 1, 2, 0, 0, 0, 0, 0]
    assert at(1, 2, 7) == [0, 1, 2, 0, 0, 0, 0, 7]
    assert told == [2, 3]
    assert at(1, 2) == [0, 1, 2, 0, 0, 0, 0, 0]
    assert told == [2, 3]


def test_a_damaged_file_is_not_used(tmp_path):
    path = tmp_path / "kept.npy"
    embeddings = np.arange(12, dtype=np.float32).reshape(4, 3)
    write_array(path, embeddings)
    np.testing.assert_array_equal(read_array(path, (4, 3)), embeddings)
    assert read_array(path, (3, 4)) is None
    whole = path.read_bytes()
    for damaged in (b"", whole[:-4], whole[:-1] + b"\0", b"\0" + whole[1:]):
        path.write_bytes(damaged)
        assert read_array(path, (4, 3)) is None


def test_files_that_nobody_reads_go_when_others_come(tmp_path):
    images, asked = real(Greys(4)), np.array([1], dtype=np.int32)

    def embedded(name):
        embed(images, asked, Brightness(images.source), tmp_path / name, BATCH, lambda count: None)

    def names():
        return sorted(path.name for path in tmp_path.iterdir())

    month = time.time() - 31 * 24 * 3600
    embedded("old.npy")
    embedded("read.npy")
    for path in tmp_path.iterdir():
        os.utime(path, (month, month))
    embedded("read.npy")
    assert names() == ["old.npy", "read.npy"]
    embedded("new.npy")
    assert names() == ["new.npy", "read.npy"]


RECIPE = """\
name: NAME
source: {kind: digits, max_per_class: 2}
synthetic_per_class: 1
conditioning: {method: embed-mixup}
model: {id: MODEL}
sampler: {steps: 1, guidance_scale: 1.0, batch_size: 4}
"""


@dataclass
class Models:
    """Copies of the embedded model, and a recipe for each."""

    cli: Cli

    def copy(self, name, **changed):
        """A copy with other values in configurations, whose names are written with __ for a slash."""
        embedded = find_local(Model(id="builtin:tiny-unclip-digits")).files[INDEX].parent
        folder = shutil.copytree(embedded, self.cli.folder / name)
        for file, change in changed.items():
            path = (folder / file.replace("__", "/")).with_suffix(".json")
            path.write_text(json.dumps(json.loads(path.read_text()) | change))
        self.recipe(name).write_text(RECIPE.replace("NAME", name).replace("MODEL", str(folder)))
        return folder

    def recipe(self, name):
        return self.cli.folder / f"{name}.yaml"

    def kept_in(self, name, without="", **sampler):
        """The name of the file; `without` is a component whose files are not told to be its own."""
        inputs = read_inputs(load_recipe(self.recipe(name)), self.cli.folder / ".synthkit")
        generator = load(inputs.checkpoint, inputs.recipe, "cpu")
        parts = tuple(part for part in inputs.checkpoint.parts if part.role != without)
        inputs = replace(inputs, checkpoint=replace(inputs.checkpoint, parts=parts))
        how = inputs.recipe.sampler.model_copy(update=sampler)
        inputs = replace(inputs, recipe=inputs.recipe.model_copy(update={"sampler": how}))
        return kept_in(
            self.cli.folder, inputs, inputs.real, generator, Origin("", {}), np.arange(3, dtype=np.int32)
        )


def test_models_with_the_same_image_encoder_share_the_embeddings_of_real_images(cli):
    """It is the same by what its files say, whoever wrote them, and whatever else the model has."""
    models = Models(cli)
    models.copy("first")
    models.copy(
        "second",
        scheduler__scheduler_config={"steps_offset": 0},
        image_encoder__config={"_name_or_path": "elsewhere", "transformers_version": "4.0.0"},
    )
    assert models.kept_in("first") == models.kept_in("second")


def test_another_recipe_with_the_same_images_does_not_embed_them_again(cli):
    outputs = [
        cli("build", cli.recipe(f"name: {name}", f"seed: {seed}"), *FLAT, "--workers", "1")
        for name, seed in (("one", 7), ("two", 7), ("three", 8))
    ]
    assert [output.exit_code for output in outputs] == [0, 0, 0]
    # Another seed takes other images of a class.
    assert ["embedding real images" in result.output for result in outputs] == [True, False, True]


def test_another_image_encoder_has_embeddings_of_its_own(cli):
    models = Models(cli)
    models.copy("first")
    models.copy("prepared", feature_extractor__preprocessor_config={"image_mean": [0.4, 0.4, 0.4]})
    weights = models.copy("trained") / "image_encoder" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    kept = [models.kept_in("first"), models.kept_in("prepared"), models.kept_in("trained")]
    assert len({*kept, models.kept_in("first", batch_size=2)}) == 4


def test_a_model_without_files_of_an_image_encoder_shares_with_no_other(cli):
    """As that of a package's family whose encoder is a component of another name."""
    models = Models(cli)
    models.copy("first")
    models.copy("second", scheduler__scheduler_config={"steps_offset": 0})
    assert models.kept_in("first") == models.kept_in("second")
    kept = [models.kept_in(name, without="image_encoder") for name in ("first", "second")]
    assert kept[0] != kept[1]

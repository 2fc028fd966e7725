import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from synthkit.builder.embeddings import compute, embed
from synthkit.errors import SourceError
from synthkit.sources.base import Listing
from synthkit.sources.pool import read_all
from synthkit.system.known_hashes import KnownHashes

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
        path = tmp_path / "embeddings.npy"
        return embed(images, asked, Brightness(images.source), path, BATCH, told.append)[:, 0].tolist()

    assert at(1, 2) == [0, 1, 2, 0, 0, 0, 0, 0]
    assert at(1, 2, 7) == [0, 1, 2, 0, 0, 0, 0, 7]
    assert told == [2, 3]
    assert at(1, 2) == [0, 1, 2, 0, 0, 0, 0, 0]
    assert told == [2, 3]

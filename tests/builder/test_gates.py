"""Quality gates by themselves: the scores of single draws, and that classes added later change none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from synthkit.builder.filters import Gates, make_gates
from synthkit.builder.image import Draw
from synthkit.errors import GeneratorError
from synthkit.generators import load
from synthkit.generators.checkpoint import locate
from synthkit.recipe.filters import Filters
from synthkit.recipe.model import Model
from synthkit.recipe.schema import Recipe
from synthkit.release.blocks import Blocks
from synthkit.release.plan import PlannedImage
from synthkit.release.scores import rejection
from synthkit.sources.base import Listing
from tests.conftest import FLAT

ALL = Filters.model_validate({"blank": {}, "near_copy": {"among": "pool"}, "label_agreement": {}})
RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)
# Between red and green, and nearer to red.
ORANGE, YELLOW = (250, 150, 10), (250, 200, 10)


def gates(
    filters: Filters, colours: Sequence[Sequence[tuple[int, int, int]]], *classes: int, images: int = 1
) -> Gates:
    """Gates over real images of one colour, for a release of blocks of so many images.

    `colours` are those of each class, `classes` the numbers of classes of its earlier blocks.
    """
    recipe = Recipe.model_validate(
        {"name": "x", "source": {"kind": "digits"}, "target_per_class": 1, "model": {"id": FLAT[1][9:]}}
    )
    generator = load(locate(Model(id=recipe.model.id)), recipe, "cpu")
    every = [colour for some in colours for colour in some]
    names = tuple(f"{label}" for label in range(len(colours)))
    labels = np.repeat(np.arange(len(colours)), [len(some) for some in colours]).astype(np.int32)
    listing = Listing(names, tuple(f"real/{number}" for number in range(len(every))), labels)
    embeddings = generator.embed_images([Image.new("RGB", (8, 8), colour) for colour in every])
    blocks = Blocks(tuple([images] * (1 + len(classes))), 10)
    return make_gates(filters, listing, generator, embeddings, {}, blocks, classes)


def picture(*colour: int) -> NDArray[np.uint8]:
    return np.asarray(Image.new("RGB", (8, 8), colour))[None]


def draw(index: int = 0, label: int = 0, *sources: int) -> Draw:
    return Draw(PlannedImage(index, label, sources, 7))


def found(made: Gates, one: Draw, image: NDArray[np.uint8]) -> dict[str, tuple[float, str]]:
    (judged,) = made.judge([one], image)
    return {item.name: (item.value, item.nearest) for item in judged.scores}


def test_scores_say_what_an_image_was_compared_with() -> None:
    made = gates(ALL, [[RED, ORANGE], [GREEN]])
    scores = found(made, draw(), picture(*ORANGE))
    assert scores["blank.deviation"] == (0, "")
    assert scores["near_copy.similarity"] == (1.0, "real/1")
    assert scores["label_agreement.rank"] == (1, "0")
    scores = found(made, draw(label=1), picture(*RED))
    assert scores["near_copy.similarity"] == (1.0, "real/0")
    assert scores["label_agreement.rank"] == (2, "0")


def test_a_score_has_six_digits_and_decides_by_them() -> None:
    made = gates(ALL, [[RED, ORANGE], [GREEN]])
    ((scores, _),) = made.judge([draw()], picture(*YELLOW))
    similarity = scores[1].value
    assert similarity == round(similarity, 6) < 1
    for limit, rejected in ((similarity, False), (similarity - 1e-6, True)):
        copy = Filters.model_validate({"near_copy": {"max_similarity": limit, "among": "pool"}})
        assert bool(rejection(scores, copy)) is rejected


def test_an_image_without_real_images_of_its_own_has_no_score_of_a_copy() -> None:
    sources = Filters.model_validate({"near_copy": {}})
    assert found(gates(sources, [[RED]]), draw(), picture(*RED)) == {}
    made = gates(sources, [[RED, GREEN, ORANGE]])
    assert found(made, draw(0, 0, 1, 2), picture(*RED))["near_copy.similarity"][1] == "real/2"


def test_classes_that_come_later_change_no_score_of_an_earlier_image() -> None:
    before = gates(ALL, [[RED], [GREEN]])
    # The new class is orange: nearer to an orange image than red, which was all there was.
    grown = gates(ALL, [[RED], [GREEN], [ORANGE], [YELLOW]], 2, 3)
    for colour in (ORANGE, YELLOW, BLUE, (120, 130, 140)):
        assert grown.judge([draw()], picture(*colour)) == before.judge([draw()], picture(*colour))
    assert found(grown, draw(), picture(*ORANGE))["label_agreement.rank"] == (1, "0")
    for index, nearest in ((0, "real/0"), (1, "real/2"), (2, "real/3")):
        assert found(grown, draw(index), picture(*YELLOW))["near_copy.similarity"][1] == nearest
        assert found(grown, draw(index), picture(*YELLOW))["label_agreement.rank"][1] == nearest[-1]
    # Images of all blocks in one batch are judged as each alone.
    batch = [draw(2), draw(0), draw(1)]
    together = grown.judge(batch, np.concatenate([picture(*YELLOW)] * 3))
    assert together == [grown.judge([one], picture(*YELLOW))[0] for one in batch]


def test_an_embedding_that_is_no_number_ends_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    made = gates(ALL, [[RED], [GREEN]])
    monkeypatch.setattr(
        type(made.generator), "embed_images", lambda self, images: np.full((len(images), 12), np.nan)
    )
    with pytest.raises(GeneratorError, match=r"values that are no numbers; .* model\.dtype=float32"):
        made.judge([draw()], picture(*RED))

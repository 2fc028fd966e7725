"""A few planned images, before any is made: their real sources, and what a build would condition them on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthkit.builder.image import Draw, scale_of
from synthkit.conditioning import METHODS
from synthkit.errors import UnreadableImage
from synthkit.inspection.conditioning_picture import planned_conditioning
from synthkit.page.choice import Plan, by_class, pick, shown_labels, told_rule
from synthkit.page.pictures import Mixed, picture_of
from synthkit.page.words import LINE, counted, name, source_title
from synthkit.release.records import key_of
from synthkit.sources.base import load_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from synthkit.page.pictures import Picture
    from synthkit.recipe.schema import Recipe
    from synthkit.release.plan import Plan as ReleasePlan
    from synthkit.release.plan import PlannedImage
    from synthkit.release.prompts import Prompts
    from synthkit.sources.base import Source

# The most classes of which planned images are shown, images of them all together, and pixels of an edge.
_CLASSES, _MOST_SHOWN, _EDGE = 12, 24, 256


class Real(NamedTuple):
    """A real image: its title, its id, its picture (None if it is not here), and the box that is used."""

    title: str
    name: str
    picture: Picture | None
    crop: tuple[int, ...]


class PlannedShown(NamedTuple):
    """A planned image on the page; `note` says more of it, or nothing."""

    key: str
    class_name: str
    prompt: str
    seed: int
    note: str
    sources: list[Real]
    mixed: Mixed | None


class Drawn(NamedTuple):
    """The planned images of a page, the rule by which they were chosen, and what is missing, if anything is.

    `cells` says that some conditionings are coordinates or tokens, coloured by where they come from.
    """

    rule: str
    images: list[PlannedShown]
    missing: list[str]
    cells: bool


def draw_planned(
    recipe: Recipe,
    plan: ReleasePlan,
    source: Source,
    prompts: Prompts,
    shape: tuple[int, ...] | None,
    seed: int,
) -> Drawn:
    """Draw some planned images, spread over the classes by a rule and a seed.

    `shape` is that of the model's embeddings, None if the model is not here.
    """
    found: list[int] = np.unique(plan.labels).tolist()
    labels = shown_labels(found, _CLASSES)
    each = max(2, _MOST_SHOWN // 2 // len(labels))
    indices = by_class(plan.labels.astype(np.int64), labels)
    chosen = [index for label in labels for index in pick(indices[label], each, seed, label).tolist()]
    artist = _Artist(recipe, source, prompts, shape)
    images = [artist.shown(plan.row(index)) for index in chosen]
    spread = (
        f"Of {len(labels)} of {counted(len(found), 'class', 'classes')}, spread evenly over all: "
        if len(labels) < len(found)
        else ""
    )
    rule = spread + told_rule(Plan(each, _EDGE, _EDGE), seed)
    cells = any(shown.mixed is not None and shown.mixed.cells for shown in images)
    return Drawn(rule, images, artist.missing(), cells)


class _Artist:
    """Draws planned images, and keeps what was missing for it."""

    def __init__(
        self, recipe: Recipe, source: Source, prompts: Prompts, shape: tuple[int, ...] | None
    ) -> None:
        self._recipe, self._source, self._prompts, self._shape = recipe, source, prompts, shape
        self._method = METHODS[recipe.conditioning.method]
        self._unread: dict[str, str] = {}

    def missing(self) -> list[str]:
        """Return sentences about what is missing: real images, or the model that says how they are mixed."""
        told = []
        if self._unread:
            first = next(iter(self._unread.values()))
            told.append(f"{counted(len(self._unread), 'real image')} cannot be shown: {name(first, LINE)}")
        in_pixels = self._method.starts or self._method.pixels is not None
        if self._method.sources and not in_pixels and self._shape is None:
            told.append(
                "The model is not on this machine, and only its files say how long an embedding is: which "
                "part of it comes from which source is not drawn."
            )
        return told

    def shown(self, row: PlannedImage) -> PlannedShown:
        """Return a planned image with its sources and its conditioning."""
        listing = self._source.listing
        images = [self._read(position) for position in row.sources]
        at_hand = [image for image in images if image is not None]
        mixed, crops = self._mixed(row, at_hand if len(at_hand) == len(images) else [])
        first = listing.ids[row.sources[0]] if row.sources else None
        return PlannedShown(
            key=key_of(row.index),
            class_name=name(listing.classes[row.label]),
            prompt=name(self._prompts.of(row.label, row.seed, first), LINE),
            seed=row.seed,
            note=self._note(row),
            sources=[
                Real(
                    source_title(number, len(images)),
                    name(listing.ids[position]),
                    None if image is None else picture_of(image, _EDGE),
                    crops[number] if crops else (),
                )
                for number, (position, image) in enumerate(zip(row.sources, images, strict=True))
            ],
            mixed=mixed,
        )

    def _mixed(
        self, row: PlannedImage, images: Sequence[Image.Image]
    ) -> tuple[Mixed | None, tuple[tuple[int, ...], ...]]:
        drawn = planned_conditioning(self._recipe, row, images, self._shape)
        if drawn is None:
            return None, ()
        picture = picture_of(drawn.image, _EDGE, exact=drawn.cells)
        return Mixed(drawn.title, drawn.note, picture, drawn.cells), drawn.crops

    def _note(self, row: PlannedImage) -> str:
        if self._recipe.conditioning.scale is None:
            return ""
        return f"weight of the image {scale_of(self._recipe, Draw(row)):.3f}"

    def _read(self, position: int) -> Image.Image | None:
        real = self._source.listing.ids[position]
        try:
            return load_image(self._source, position)
        except UnreadableImage as error:
            self._unread[real] = str(error)
            return None

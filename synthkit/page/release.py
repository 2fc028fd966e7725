"""The page of a release: its images by class with their histories, its numbers, recipe, audit and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from synthkit.errors import ReleaseError
from synthkit.inspection.show import summary
from synthkit.page.audited import audit_of, audit_told, audited_indices
from synthkit.page.choice import (
    MOST_BYTES,
    Plan,
    by_class,
    pick,
    plans_that_fit,
    shown_labels,
    told_rule,
)
from synthkit.page.numbers import DRAW, HIGH, TITLES, WIDE, histograms, read_numbers
from synthkit.page.rendering import render
from synthkit.page.scored import gains_of
from synthkit.page.shown import no_progress, read_gallery
from synthkit.page.words import LINE, counted, name
from synthkit.release.card import loading_of
from synthkit.release.citation import about
from synthkit.release.files import RECIPE
from synthkit.release.plan import GROUPS
from synthkit.release.signature import read_signature

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from synthkit.page.audited import AuditTold
    from synthkit.page.numbers import Numbers
    from synthkit.page.scored import ClassTold, ScoreTold
    from synthkit.page.shown import Gallery, Shown
    from synthkit.release.audit import Audit
    from synthkit.release.facts import ClassFacts
    from synthkit.release.manifest import Manifest
    from synthkit.release.places import Received

# So many images are made small first, to know how many bytes one takes.
_TRIED = 8
# What an image takes beside its pictures: its history, its names, the tags around it.
_WORDS = 1_400
# The most rows of the table of classes, and the most letters of a recipe.
_MOST_ROWS, _MOST_RECIPE = 5_000, 200_000


class ClassShown(NamedTuple):
    """A class and its images on the page."""

    label: int
    name: str
    group: str
    real: int
    synthetic: int
    images: list[Shown]


class ClassRow(NamedTuple):
    """A row of the table of classes: its counts, bars in percent of the largest class, accuracies."""

    label: int
    name: str
    group: str
    real: int
    synthetic: int
    real_bar: float
    synthetic_bar: float
    scored: list[ClassTold | None]


class Published(NamedTuple):
    """What a release is published with: its manifest, the text of its recipe, and the signature, if any.

    The manifest and the recipe name the repository.
    """

    manifest: Manifest
    recipe: str
    signature: bytes | None


def release_page(
    received: Received,
    seed: int = 0,
    scores: Sequence[ScoreTold] = (),
    *,
    sources: bool = True,
    published: Published | None = None,
) -> bytes:
    """Return the page of a release, at most MOST_BYTES long; the same release gives the same bytes.

    `seed` decides which images are shown. Without `sources` the real images are named, not shown. The page
    tells how to load the release where it is `published`. Raises ReleaseError if the release is damaged, as
    far as it is read: all records, and the images that are shown.
    """
    _refuse_damaged(received)
    numbers = read_numbers(received)
    told = published or _as_it_is(received)
    maker = _Maker(received, seed, list(scores), numbers, audit_of(received), told, sources=sources)
    for plan in maker.plans():
        page = maker.page(plan)
        if len(page) <= MOST_BYTES:
            return page
    raise ReleaseError(f"{received.folder}: has too many classes, or too long names, for a page of 15 MB")


def _refuse_damaged(received: Received) -> None:
    """Raise ReleaseError for a manifest that was edited, and for a file of another size than it states."""
    release, manifest = received.folder, received.manifest
    advice = f"run synthkit verify {release}"
    if manifest.seal != manifest.sealed().seal:
        raise ReleaseError(f"{release}: its manifest was edited: its seal does not fit; {advice}")
    for file in manifest.files:
        path = release / file.path
        if not path.is_file():
            raise ReleaseError(f"{path}: is missing; {advice}")
        if path.stat().st_size != file.bytes:
            found = path.stat().st_size
            raise ReleaseError(f"{path}: has {found:,} bytes, its manifest says {file.bytes:,}; {advice}")


class _Maker:
    """Makes the page by one plan after another, until it is small enough."""

    def __init__(
        self,
        received: Received,
        seed: int,
        scores: list[ScoreTold],
        numbers: Numbers,
        audit: Audit | None,
        told: Published,
        *,
        sources: bool,
    ) -> None:
        self._received, self._seed, self._scores = received, seed, scores
        self._told, self._sources = told, sources
        self._numbers, self._audit = numbers, audit
        manifest = received.manifest
        self._labels = shown_labels([item.label for item in manifest.classes if item.synthetic])
        self._indices = by_class(numbers.labels, self._labels)
        self._audited = [] if audit is None else audited_indices(received, audit)

    def plans(self) -> Sequence[Plan]:
        """Return the plans to try, the most generous first."""
        some = self._some()

        def bytes_of(plan: Plan) -> float:
            tried = read_gallery(self._received, some, plan, no_progress, sources=self._sources)
            return _WORDS + tried.size / max(len(some), 1)

        return plans_that_fit(lambda plan: len(self._chosen(plan)), bytes_of)

    def page(self, plan: Plan) -> bytes:
        """Return the page by a plan."""
        chosen = self._chosen(plan)
        gallery = read_gallery(self._received, chosen, plan, sources=self._sources)
        manifest, recipe = self._told.manifest, self._received.recipe
        told = summary(manifest, recipe, self._told.signature)
        facts = [(title.strip(), name(text, LINE)) for title, text in told]
        classes = self._classes(plan, gallery)
        names = {item.label: name(item.name, 60) for item in manifest.classes}
        return render(
            "release.html.jinja",
            manifest=manifest,
            about=name(manifest.summary or about(manifest), LINE),
            facts=facts,
            loading=loading_of(manifest),
            rule=told_rule(plan, self._seed),
            next_seed=self._seed + 1,
            left_out=self._left_out(),
            classes=classes,
            gallery=gallery,
            first_key=next((shown.key for shown in gallery.images.values()), None),
            facets=_facets(classes),
            same=_same(classes, manifest.method),
            data=_data(gallery),
            histograms=histograms(self._numbers),
            histogram_size=(WIDE, HIGH),
            rows=self._rows(),
            all_classes=len(manifest.classes),
            audit=None if self._audit is None else self._told_audit(self._audit, gallery),
            scores=self._scores,
            gains=[gains_of(score, names) for score in self._scores],
            recipe=_cut(self._told.recipe),
        )

    def _told_audit(self, audit: Audit, gallery: Gallery) -> AuditTold:
        return audit_told(self._received, audit, gallery.images, sources=self._sources)

    def _some(self) -> list[int]:
        """Return the indices of a few images, of classes all over the release, to try how large they are."""
        labels = self._labels[:: max(1, len(self._labels) // _TRIED)][:_TRIED]
        return sorted(int(self._indices[label][0]) for label in labels)

    def _chosen(self, plan: Plan) -> list[int]:
        """Return the indices of all images that the page shows, ascending."""
        picked = [self._pick(plan, label).tolist() for label in self._labels]
        return sorted({*self._audited, *(index for some in picked for index in some)})

    def _pick(self, plan: Plan, label: int) -> NDArray[np.int64]:
        return pick(self._indices[label], plan.per_class, self._seed, label)

    def _classes(self, plan: Plan, gallery: Gallery) -> list[ClassShown]:
        known = self._received.manifest.classes
        return [
            ClassShown(
                label,
                name(known[label].name),
                known[label].group,
                known[label].real,
                known[label].synthetic,
                [gallery.images[index] for index in self._pick(plan, label).tolist()],
            )
            for label in self._labels
        ]

    def _left_out(self) -> list[str]:
        """Return sentences about classes of which no image is shown."""
        classes, shown = self._received.manifest.classes, len(self._labels)
        empty = [item for item in classes if not item.synthetic]
        made = len(classes) - len(empty)
        told = []
        if made > shown:
            told.append(f"Images of {shown:,} of {made:,} classes are shown, spread evenly over all of them.")
        if empty:
            names = ", ".join(name(item.name, 40) for item in empty[:10])
            more = f" and {len(empty) - 10:,} more" if len(empty) > 10 else ""
            told.append(f"{counted(len(empty), 'class has', 'classes have')} no images here: {names}{more}.")
        return told

    def _rows(self) -> list[ClassRow]:
        classes = self._received.manifest.classes
        most = max((item.real + item.synthetic for item in classes), default=1) or 1
        scored = [{item.label: item for item in score.classes} for score in self._scores]
        return [self._row(item, most, scored) for item in classes[:_MOST_ROWS]]

    def _row(self, item: ClassFacts, most: int, scored: list[dict[int, ClassTold]]) -> ClassRow:
        return ClassRow(
            item.label,
            name(item.name, 60),
            item.group,
            item.real,
            item.synthetic,
            round(100 * item.real / most, 2),
            round(100 * item.synthetic / most, 2),
            [of_score.get(item.label) for of_score in scored],
        )


def _as_it_is(received: Received) -> Published:
    # `receive` has read the recipe, so it is text of a bounded length.
    recipe = (received.folder / RECIPE).read_text(encoding="utf-8")
    return Published(received.manifest, recipe, read_signature(received.folder))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_RECIPE else f"{text[:_MOST_RECIPE]}\n# … cut here: see recipe.yaml\n"


def _values(classes: Sequence[ClassShown]) -> dict[str, set[float]]:
    """Return the different values of each number among the images that are shown."""
    found: dict[str, set[float]] = {}
    for image in (image for one in classes for image in one.images):
        for key, value in image.numbers.items():
            found.setdefault(key, set()).add(value)
    return found


def _facets(classes: Sequence[ClassShown]) -> dict[str, Any]:
    """Return what images can be filtered by: whatever differs among those that are shown."""
    several = {key: values for key, values in _values(classes).items() if len(values) > 1}
    draws = several.pop(DRAW, set())
    return {
        "groups": [group for group in GROUPS if group in {one.group for one in classes}],
        "draws": sorted(int(value) for value in draws),
        "ranges": [
            {"id": key, "title": title, "low": min(several[key]), "high": max(several[key])}
            for key, title in TITLES.items()
            if key in several
        ],
    }


def _same(classes: Sequence[ClassShown], method: str) -> list[str]:
    """Return what is the same for all images that are shown, so that no filter asks for it."""
    values = {key: min(values) for key, values in _values(classes).items() if len(values) == 1}
    draw = values.pop(DRAW, None)
    told = [f"method {method}", *(["the first draw of each was kept"] if draw == 1 else [])]
    return told + [f"{TITLES[key]}: {value:g}" for key, value in values.items()]


def _data(gallery: Gallery) -> dict[str, Any]:
    """Return what the script needs of each image; equal lines of histories are stated once."""
    lines: dict[tuple[str, str], int] = {}
    images = [
        {
            "key": shown.key,
            "history": [lines.setdefault(line, len(lines)) for line in shown.lines],
            "numbers": {key: round(value, 6) for key, value in shown.numbers.items()},
            "sources": shown.sources,
            "mixed": shown.mixed
            and [shown.mixed.title, shown.mixed.note, shown.mixed.picture.uri, shown.mixed.cells],
        }
        for shown in gallery.images.values()
    ]
    sizes = [(picture.width, picture.height) for picture in gallery.real]
    return {"lines": list(lines), "images": images, "sizes": sizes}

"""FiftyOne's own JSON of labelled images (FiftyOneImageClassificationDataset), provenance as attributes.

    labels.json
    data/000000017.png

Each label has the fields of the record as attributes, plain ones, by which FiftyOne's App filters:
`ground_truth.seed`, `ground_truth.source_1`, `ground_truth.score_near_copy_similarity`. It is written by
this module and not by FiftyOne, which puts every image into a MongoDB to write such a folder.

Source: docs.voxel51.com, Importing data, FiftyOneImageClassificationDataset.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from synthkit.release.front_matter import unique_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from synthkit.release.image import StoredImage
    from synthkit.release.manifest import Manifest


class FiftyOne:
    """Writes images and, one entry after the other, labels.json; a Writer."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._data = folder / "data"
        self._data.mkdir()
        self._classes = unique_names(manifest)
        self._json = (folder / "labels.json").open("w", encoding="utf-8")
        self._json.write(f'{{"classes": {_written(self._classes)},\n"labels": {{')
        self._first = True

    def add(self, stored: StoredImage) -> None:
        """Write an image and its label."""
        record = stored.record
        (self._data / f"{record.key}.{stored.extension}").write_bytes(stored.image)
        label = {"label": self._classes[record.label], "attributes": dict(attributes(record.to_row()))}
        comma = "" if self._first else ","
        self._json.write(f"{comma}\n{_written(record.key)}: {_written(label)}")
        self._first = False

    def close(self) -> None:
        """Write the end of labels.json."""
        self._json.write("}}\n")
        self._json.close()

    def abandon(self) -> None:
        """Close labels.json."""
        self._json.close()


def attributes(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a record as attributes: texts and numbers, lists of them, and nothing empty.

    `label` is called `label_number`, since FiftyOne's own `label` is the name. A real image is `source_1` or
    `source_2`, with its SHA-256; a score is named after its gate.
    """
    for name, value in row.items():
        if name == "sources":
            for number, source in enumerate(value, 1):
                yield f"source_{number}", source["id"]
                yield f"source_{number}_sha256", source["sha256"]
        elif name == "scores":
            for score in value:
                gate = f"score_{score['name'].replace('.', '_')}"
                yield gate, score["value"]
                if score["nearest"]:
                    yield f"{gate}_nearest", score["nearest"]
        elif name == "candidates":
            yield "candidates", [_written(candidate) for candidate in value]
        elif name == "crops":
            for number, crop in enumerate(value, 1):
                yield f"crop_{number}", list(crop)
        elif value not in ([], (), ""):
            yield "label_number" if name == "label" else name, value


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

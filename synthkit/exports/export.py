"""Write a release in the layout of another tool: a new folder, whole or not at all."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import ReleaseError, did_you_mean
from synthkit.exports.base import Layout
from synthkit.exports.coco import Coco
from synthkit.exports.fiftyone import FiftyOne
from synthkit.exports.imagefolder import ImageFolder
from synthkit.exports.parquet import ParquetFiles
from synthkit.exports.readme import readme
from synthkit.release.folder import ReleaseFolder
from synthkit.release.image import read_images
from synthkit.system.files import check_place
from synthkit.system.progress import progress
from synthkit.verification.verify import refuse_damaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthkit.exports.base import Writer
    from synthkit.release.manifest import Manifest

_ADVICE = "it is not exported: build or pull it again"
LAYOUTS = {
    "imagefolder": Layout(
        ImageFolder,
        "a folder for each class, a table of records beside them",
        "datasets",
        'datasets.load_dataset("imagefolder", data_dir="{out}", split="train")',
    ),
    "parquet": Layout(
        ParquetFiles,
        "tables with the images in them",
        "datasets",
        'datasets.load_dataset("parquet", data_files="{out}/data/*.parquet", split="train")',
    ),
    "coco": Layout(
        Coco,
        "COCO's JSON, one box as large as the image for each",
        "pycocotools.coco",
        'pycocotools.coco.COCO("{out}/annotations.json")',
    ),
    "fiftyone": Layout(
        FiftyOne,
        "FiftyOne's JSON of labelled images",
        "fiftyone",
        'fiftyone.Dataset.from_dir(dataset_dir="{out}", '
        "dataset_type=fiftyone.types.FiftyOneImageClassificationDataset, dynamic=True)",
    ),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A release in the layout of another tool: the folder, how many images, and how Python loads it."""

    path: Path
    to: str
    images: int
    load: str


def export_release(reference: str, find: Callable[[], Path], to: str, out: Path | None = None) -> Exported:
    """Write a release into the folder `out` in a layout of LAYOUTS; by default NAME-LAYOUT, here.

    `reference` is what the user calls the release, and `find` brings it to this machine: only when nothing
    is in the way. The release is verified first. `out` must not exist, or be empty: it appears in one step
    when all of it is written, and what a kill leaves beside it is removed by the next export to the same
    place. Raises ReleaseError if the release is damaged, if there is no such layout, or if something is in
    the way.
    """
    layout = _layout(to)
    if out is not None:
        _check_free(out)
    release = find()
    with ReleaseFolder.at(release).opened() as manifest:
        if out is None:
            out = Path(f"{manifest.name}{'-preview' if manifest.partial else ''}-{to}")
            _check_free(out)
        folder = ReleaseFolder.at(out)
        if folder.path.resolve().is_relative_to(release.resolve()):
            raise ReleaseError(
                f"--out {out}: is inside the release, which holds nothing else; choose another folder"
            )
        refuse_damaged(release, manifest, _ADVICE, name=reference)
        with folder.locked():
            _check_empty(folder.path)
            with folder.replace() as new:
                _write(release, manifest, layout.writer(new, manifest))
                (new / "README.md").write_text(readme(manifest, layout), encoding="utf-8")
    return Exported(out, to, manifest.images, layout.load.format(out=out))


def _write(release: Path, manifest: Manifest, writer: Writer) -> None:
    """Give every image of a release to a writer."""
    try:
        with progress("exporting", manifest.images) as advance:
            for stored in read_images(release, manifest):
                writer.add(stored)
                advance(1)
        writer.close()
    except BaseException:
        # A disk that is full is full for this, too.
        with suppress(OSError):
            writer.abandon()
        raise


def _layout(name: str) -> Layout:
    if name not in LAYOUTS:
        near = did_you_mean(name, LAYOUTS) if isinstance(name, str) else ""
        raise ReleaseError(f"--to {name!s:.80}: must be one of {', '.join(LAYOUTS)}{near}")
    return LAYOUTS[name]


def _check_free(out: Path) -> None:
    """Raise ReleaseError or OSError if no export can be written there."""
    place = ReleaseFolder.at(out).path
    _check_empty(place)
    check_place(place.parent)


def _check_empty(out: Path) -> None:
    """Raise ReleaseError if the export would replace something."""
    if out.is_dir():
        if any(out.iterdir()):
            raise ReleaseError(f"--out {out}: is not empty; choose another folder, or remove it")
    elif out.exists():
        raise ReleaseError(f"--out {out}: is a file; choose a folder")

"""`synthkit.open_release`: a release's images, labels and records in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkit.api.given import path_of, place_of, user_errors
from synthkit.errors import ReleaseError, did_you_mean

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from synthkit.api.given import GivenPath
    from synthkit.api.torch_images import TorchImages
    from synthkit.release.image import StoredImage
    from synthkit.release.manifest import Manifest
    from synthkit.training import RealImages

_ADVICE = "it is not opened: build or pull it again"


@user_errors
def open_release(release: GivenPath, *, verify: bool = True) -> Release:
    """Open a release: a folder, or organisation/name@v1.0.0 on the Hub, which is downloaded.

    Every byte is verified first, as `synthkit eval` does; `verify=False` leaves that out, for a release that
    was verified before. Raises ReleaseError if it is damaged or there is none, HubError if it cannot be
    downloaded.
    """
    from synthkit.publish.pull import find_release
    from synthkit.release.folder import ReleaseFolder
    from synthkit.verification.verify import refuse_damaged

    reference = str(path_of(release, "release", ReleaseError))
    folder = find_release(reference)
    with ReleaseFolder.at(folder).opened() as manifest:
        if verify:
            refuse_damaged(folder, manifest, _ADVICE, name=reference)
    return Release(reference, folder, manifest)


class Release:
    """The synthetic images of a release, in the order of their keys, each with its record.

    `len(release)` is the number of images, `release[3]` is one, and iterating reads all of them, one shard
    after the other; each is a StoredImage with `record`, `image` (the bytes of its file) and `pixels()`.
    `path` is the folder, `classes` has the names of the classes by label, `manifest` what manifest.json says.
    The real images are not in it: `real()` opens them.
    """

    def __init__(self, reference: str, path: Path, manifest: Manifest) -> None:
        self._reference = reference
        self.path, self.manifest = path, manifest
        self.classes = [item.name for item in manifest.classes]

    @property
    def name(self) -> str:
        """Its name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Its semantic version."""
        return self.manifest.version

    def __len__(self) -> int:
        return self.manifest.images

    def __iter__(self) -> Iterator[StoredImage]:
        """Yield every image. Raises ReleaseError for a damaged shard or sample."""
        from synthkit.release.image import read_images

        return read_images(self.path, self.manifest)

    def __getitem__(self, index: int) -> StoredImage:
        """Return the image with an index, from the end if it is negative.

        Raises IndexError if there is none, ReleaseError if its sample is damaged, or for a slice or a key.
        """
        from synthkit.release.image import read_image
        from synthkit.release.records import key_of

        return read_image(self.path, self.manifest, key_of(place_of(index, len(self))))

    def history(self, index: int) -> str:
        """Return where an image comes from, in words, as `synthkit show RELEASE KEY` does."""
        from synthkit.inspection.show import as_text, history

        return as_text(history(self.manifest, self[index]))

    @user_errors
    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the records of all images as an Arrow table: all columns, or some. No image is read.

        The columns are explained in docs/provenance.md. Raises ReleaseError for a column that there is not,
        or if the table of records is damaged.
        """
        import pyarrow as pa

        from synthkit.release.record_table import RecordTables

        chosen = self._columns(columns)
        parts = [part.select(chosen) for part in RecordTables(self.path, self.manifest).parts(chosen)]
        return pa.concat_tables(parts)

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the records of all images as a pandas table; raises what `to_arrow` does."""
        table: pd.DataFrame = self.to_arrow(columns).to_pandas()
        return table

    @user_errors
    def torch(self, transform: Callable[[Any], Any] | None = None) -> TorchImages:
        """Return the images and labels as a map-style PyTorch data set.

        `transform` makes of an RGB image of Pillow's what a training needs, a tensor for example. It works
        with the workers of a DataLoader, and as `synthetic` of `synthkit.mix` (without a transform here).
        Raises ReleaseError if a shard is damaged.
        """
        from synthkit.api.torch_images import TorchImages
        from synthkit_eval.training.synthetic_images import open_synthetic

        return TorchImages(open_synthetic(self.path, self.manifest), self.classes, transform)

    def real(self, **places: str | os.PathLike[str]) -> RealImages:
        """Return the real images that it was made from, as `synthkit.real` does."""
        from synthkit.training import real

        return real(self._reference, **places)

    def _columns(self, columns: Sequence[str] | None) -> list[str]:
        from synthkit.release.records import KINDS

        known = list(KINDS[self.manifest.format_version].__struct_fields__)
        if isinstance(columns, str):
            raise ReleaseError(f"columns: is {columns!r:.80}; give a list of names, as [{columns!r:.80}]")
        for name in columns or ():
            if name not in known:
                near = did_you_mean(str(name), known)
                raise ReleaseError(f"columns: {name!r:.80} is none{near}; they are {', '.join(known)}")
        return known if columns is None else list(columns)

    def __repr__(self) -> str:
        of = f", a preview of {self.manifest.partial.of:,}" if self.manifest.partial else ""
        return (
            f"<release {self.name} {self.version}: {len(self):,} {self.manifest.what} images of "
            f"{len(self.classes):,} classes{of}, in {self.path}>"
        )

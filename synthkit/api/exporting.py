"""`synthkit.export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.api.given import path_of, user_errors
from synthkit.errors import ReleaseError

if TYPE_CHECKING:
    from synthkit.api.given import GivenPath
    from synthkit.exports.export import Exported


@user_errors
def export(release: GivenPath, to: str, out: GivenPath | None = None) -> Exported:
    """Write a release in the layout of another tool, as `synthkit export` does, provenance as fields.

    `release` is a folder, or organisation/name@v1.0.0 on the Hub. `to` is imagefolder, parquet, coco or
    fiftyone; `out` is the new folder, by default NAME-LAYOUT in the current one. The result says how Python
    loads it (`load`). Raises ReleaseError if the release is damaged, for another layout, or if `out` is not
    empty.
    """
    from synthkit.exports.export import export_release
    from synthkit.publish.pull import find_release

    reference = str(path_of(release, "release", ReleaseError))
    folder = None if out is None else path_of(out, "out", ReleaseError)
    return export_release(reference, lambda: find_release(reference), to, folder)

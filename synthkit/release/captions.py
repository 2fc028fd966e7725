"""Finds the captions that the prompts of a release were filled in with, on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from synthkit.errors import SourceError
from synthkit.release.places import work_roots
from synthkit.release.remembered_places import recall
from synthkit.sources.captions import usable_captions

if TYPE_CHECKING:
    from synthkit.release.places import Received


def find_captions(received: Received) -> dict[str, str] | None:
    """Return the captions of a release's real images by id; None if it has none, or they are not here.

    They are in the file that the user named, or in the one that a build on this machine read. The path in the
    recipe, which may be a stranger's, is not opened. Raises SourceError if the user named another file.
    """
    captions = received.recipe.captions
    if captions is None:
        return None
    if "captions.file" in received.said:
        return usable_captions(captions)
    for root in work_roots(received.folder):
        path = recall(root, captions.sha256 or "", "captions").get("file")
        # Anybody may have written the memory: a pipe would never end.
        if path is not None and os.path.isfile(path):  # noqa: PTH113 (any name at all)
            try:
                return usable_captions(captions.model_copy(update={"file": path}))
            except SourceError:
                continue
    return None

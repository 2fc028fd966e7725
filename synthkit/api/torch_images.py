"""The images of a release as a PyTorch data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Loaded by `Release.torch` alone.
from torch.utils.data import Dataset  # noqa: TID253

from synthkit.api.given import place_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from synthkit_eval.training.synthetic_images import SyntheticImages


class TorchImages(Dataset[tuple[Any, int]]):
    """Pairs of an image and its label, in the order of the release's keys.

    It is a map-style data set: a DataLoader can shuffle all of it, and shares the indices between its
    workers. Each image is read at its place in its shard when it is asked for; 32 bytes an image are kept.
    `classes` has the names of the classes by label, `labels` (N,) the label of each image.
    """

    def __init__(
        self, images: SyntheticImages, classes: list[str], transform: Callable[[Any], Any] | None
    ) -> None:
        self._images, self._transform = images, transform
        self.classes = classes

    @property
    def labels(self) -> NDArray[Any]:
        """The label of each image, (N,)."""
        return self._images.labels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return an image, an RGB image of Pillow's unless a transform changes it, and its label.

        Raises IndexError if there is no such image, and ReleaseError for a slice, or if its file is not one
        that a build writes.
        """
        place = place_of(index, len(self))
        image = self._images.image(place)
        return image if self._transform is None else self._transform(image), int(self._images.labels[place])

    def __repr__(self) -> str:
        return f"<{len(self):,} images of {len(self.classes):,} classes>"

"""Images per second of the training loader against a plain webdataset + PIL + torchvision pipeline.

    python bench/load.py [--images 768] [--rounds 3] [--workers 2] [--json]

Both read the same JPEG files, 512x512 synthetic ones in tars and 500x375 real ones, half and half, and give
batches of 64 normalised float32 tensors (64, 3, 224, 224) after random-resized crop, flip and colour jitter.
The peer reads all files from tars; synthkit reads the real ones from folders. Both take turns in one run.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch  # noqa: TID253
import torchvision.transforms as T  # noqa: TID253
import webdataset  # noqa: TID253
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor  # noqa: TID253

from synthkit.recipe.families import FolderSourceConfig
from synthkit.sources import open_source
from synthkit.sources.pool import read_all
from synthkit.system.known_hashes import KnownHashes
from synthkit.version import FORMAT_VERSION
from synthkit_eval.sections.batches import Batches
from synthkit_eval.sections.images import ColorJitter, Images
from synthkit_eval.training.augmentation import Colours
from synthkit_eval.training.distributed import World
from synthkit_eval.training.loader import TrainingImages, training_batches
from synthkit_eval.training.orders import make_order
from synthkit_eval.training.synthetic_images import index_shards

BATCH = 64
IMAGES = Images(
    size=224,
    crop="random-resized",
    flip=True,
    color_jitter=ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
)


def picture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Noise with the spectrum of photographs, so that its JPEG is as large as one."""
    spectrum = np.fft.rfft2(rng.standard_normal((3, height, width)), axes=(1, 2))
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    radius[0, 0] = 1
    values = np.fft.irfft2(spectrum / radius**1.2, s=(height, width), axes=(1, 2))
    scaled = (values - values.mean()) / values.std() * 50 + 128
    return np.clip(scaled, 0, 255).astype(np.uint8).transpose(1, 2, 0)


def jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_tar(path: Path, files: list[bytes], first: int) -> Path:
    with tarfile.open(path, "w") as tar:
        for number, content in enumerate(files, first):
            for name, data in (("cls", b"%d" % (number % 10)), ("jpg", content), ("json", b"{}")):
                member = tarfile.TarInfo(f"{number:09d}.{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def make_data(folder: Path, images: int) -> tuple[list[Path], list[Path]]:
    """Tars of synthetic and of real images, and the real ones again as files in class folders."""
    rng = np.random.default_rng(0)
    # A quarter of them are drawn; decoding takes no shorter for an image seen before.
    synthetic = [jpeg(picture(rng, 512, 512), 95) for _ in range(images // 4)] * 4
    real = [jpeg(picture(rng, 375, 500), 90) for _ in range(images // 4)] * 4
    for number, content in enumerate(real):
        path = folder / "real" / f"class{number % 10}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    parts = 4
    tars = [
        [
            write_tar(folder / f"{kind}-{part}.tar", files[part::parts], part * len(files) // parts)
            for part in range(parts)
        ]
        for kind, files in (("synthetic", synthetic), ("real", real))
    ]
    return tars[0], tars[1]


def peer(synthetic: list[Path], real: list[Path], workers: int) -> Iterator[Tensor]:
    """Yield batches of images, read as webdataset's documentation recommends."""
    transform = T.Compose(
        [
            T.RandomResizedCrop(224),
            T.RandomHorizontalFlip(),
            T.ColorJitter(0.4, 0.4, 0.4),
            T.ToTensor(),
            T.Normalize(IMAGES.mean, IMAGES.std),
        ]
    )

    def pairs(tars: list[Path]) -> webdataset.WebDataset:
        urls = [str(path) for path in tars]
        dataset = webdataset.WebDataset(urls, shardshuffle=len(urls), seed=0).shuffle(500)
        return dataset.decode("pil").to_tuple("jpg", "cls").map_tuple(transform, int)

    mixed = webdataset.RandomMix([pairs(synthetic), pairs(real)], [0.5, 0.5])
    loader = torch.utils.data.DataLoader(mixed, batch_size=BATCH, num_workers=workers)
    for images, _ in loader:
        yield images


def ours(synthetic: list[Path], folder: Path, workers: int) -> Iterator[Tensor]:
    source = open_source(FolderSourceConfig(kind="folder", root=str(folder / "real")))
    real = read_all(source, on_error="stop", known_hashes=KnownHashes(), advance=lambda count: None)
    tars = index_shards(synthetic, "jpg", (512, 512), FORMAT_VERSION)
    images = TrainingImages(real, tars, IMAGES)
    colours = Colours(IMAGES, "cpu")
    order = make_order(Batches(size=BATCH), len(real.listing), len(tars), 0, 0, World())
    yield torch.empty(0)  # Starts the clock: what comes before is done once, and not in every epoch.
    for loaded in training_batches(images, order, epoch=0, seed=0, world=World(), workers=workers):
        yield colours(loaded.pixels, loaded.uniform)


def rate(batches: Callable[[], Iterator[Tensor]]) -> float:
    """Return images per second; the start of worker processes is included."""
    stream = batches()
    started, images = time.perf_counter(), 0
    for batch in stream:
        if not len(batch):
            started = time.perf_counter()
        images += len(batch)
    return images / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=768, help="synthetic images, and as many real ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {"synthkit": [], "webdataset + PIL + torchvision": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthetic, real = make_data(folder, arguments.images)
        for _ in range(arguments.rounds):
            found["webdataset + PIL + torchvision"].append(
                rate(lambda: peer(synthetic, real, arguments.workers))
            )
            found["synthkit"].append(rate(lambda: ours(synthetic, folder, arguments.workers)))
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    ratio = medians["synthkit"] / medians["webdataset + PIL + torchvision"]
    if arguments.json:
        print(json.dumps({"ratios": {"load_vs_webdataset": ratio}, "images_per_second": found}))
        return
    for name, rates in found.items():
        print(f"{name:32} {medians[name]:7.0f} images/s   ({', '.join(f'{r:.0f}' for r in rates)})")
    print(f"synthkit / webdataset: {ratio:.2f}")


if __name__ == "__main__":
    main()

"""The benchmarks in miniature, each in the exact layout in which it is distributed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parents[1]
COCO_CATEGORIES = {1: "person", 2: "bicycle", 13: "stop sign", 90: "toothbrush"}


def photo(path: Path, seed: int, size: tuple[int, int] = (24, 20)) -> None:
    """A small picture that no other seed gives, in the format of the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*reversed(size), 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else None)


def imagenet_lt_classes() -> list[dict[str, str]]:
    """The facts of ImageNet-LT: index, name, train_images, group, in_90_subset."""
    with (HERE / "data/imagenet_lt_classes.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def synset(label: int) -> str:
    return f"n{label + 1_440_764:08d}"


def imagenet_lt_list(path: Path) -> Path:
    """A list like the real one: as many lines, and as many of each class."""
    lines = [
        f"train/{synset(label)}/{synset(label)}_{number}.JPEG {label}"
        for label, facts in enumerate(imagenet_lt_classes())
        for number in range(int(facts["train_images"]))
    ]
    np.random.default_rng(0).shuffle(lines)
    path.write_text("\n".join(lines) + "\n")
    return path


def imagenet(root: Path, labels: list[int], per_class: int, list_file: Path) -> None:
    """ILSVRC 2012 with a list of some classes."""
    lines = []
    for label in labels:
        for number in range(per_class):
            name = f"train/{synset(label)}/{synset(label)}_{number}.JPEG"
            photo(root / name, 1000 * label + number)
            lines.append(f"{name} {label}")
    list_file.write_text("\n".join(lines) + "\n")


def caltech101(root: Path, per_class: int = 11) -> Path:
    folder = root / "101_ObjectCategories"
    names = ("BACKGROUND_Google", "Faces", "Faces_easy", "accordion", "car_side")
    for label, name in enumerate(names):
        for number in range(1, per_class + 1):
            photo(folder / name / f"image_{number:04d}.jpg", 100 * label + number)
    (folder / "BACKGROUND_Google" / "tmp").write_text("the real archive has such a file")
    return folder


def flowers102(root: Path, per_class: int = 9) -> Path:
    from scipy.io import savemat

    rng = np.random.default_rng(5)
    labels = rng.permutation(np.repeat(np.arange(1, 103, dtype=np.uint8), per_class))
    for number in range(1, len(labels) + 1):
        photo(root / f"jpg/image_{number:05d}.jpg", number, (12, 10))
    savemat(root / "imagelabels.mat", {"labels": labels[None]})
    numbers = rng.permutation(np.arange(1, len(labels) + 1, dtype=np.uint16))[None]
    savemat(
        root / "setid.mat",
        {"trnid": numbers[:, :102], "valid": numbers[:, 102:204], "tstid": numbers[:, 204:]},
    )
    return root


def coco(root: Path, per_class: int = 6) -> Path:
    for part, first in (("train", 0), ("val", 500_000)):
        _coco_part(root, part, first, per_class)
    return root


def _coco_part(root: Path, part: str, first: int, per_class: int) -> None:
    images, annotations = [], []
    ids = list(COCO_CATEGORIES)
    for number in range(per_class * len(ids) + 1):
        image = first + 7 * number + 9
        name = f"{image:012d}.jpg"
        photo(root / f"{part}2017" / name, image)
        images.append({"license": 1, "file_name": name, "height": 20, "width": 24, "id": image})
        if number == per_class * len(ids):
            continue  # an image without annotations
        main, other = ids[number % len(ids)], ids[(number + 1) % len(ids)]
        for category, area in ((other, 10.5), (main, 100.25), (other, 99.0)):
            annotations.append(
                {
                    "segmentation": [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]],
                    "area": area,
                    "iscrowd": 0,
                    "image_id": image,
                    "bbox": [1.0, 2.0, 3.0, 4.0],
                    "category_id": category,
                    "id": len(annotations) + 1,
                }
            )
    categories = [{"supercategory": "thing", "id": i, "name": name} for i, name in COCO_CATEGORIES.items()]
    path = root / "annotations" / f"instances_{part}2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "info": {"year": 2017},
                "licenses": [],
                "images": images[::-1],
                "annotations": annotations,
                "categories": categories,
            }
        )
    )


def voc2012(root: Path, per_class: int = 5) -> Path:
    """VOCdevkit/VOC2012; the label of the n-th image of a list is n % 20."""
    folder = root / "VOCdevkit" / "VOC2012"
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for part, first in (("train", 0), ("val", 5000)):
        names = []
        for number in range(20 * per_class):
            name = f"2007_{first + number:06d}"
            photo(folder / "JPEGImages" / f"{name}.jpg", first + number)
            _voc_masks(folder, name, number % 20 + 1)
            names.append(name)
        (lists / f"{part}.txt").write_text("\n".join(names) + "\n")
    return folder


def _voc_masks(folder: Path, name: str, main: int) -> None:
    """One large object of the main class; two smaller ones of another that are larger together."""
    other = main % 20 + 1
    classes, objects = np.zeros((2, 20, 24), np.uint8)
    classes[0:8, 0:10], objects[0:8, 0:10] = other, 1
    classes[12:20, 0:10], objects[12:20, 0:10] = other, 2
    classes[4:16, 12:22], objects[4:16, 12:22] = main, 3
    classes[8:10, :], objects[8:10, :] = 255, 255
    for kind, mask in (("SegmentationClass", classes), ("SegmentationObject", objects)):
        image = Image.fromarray(mask, "P")
        image.putpalette([value for index in range(256) for value in (index, 255 - index, index)])
        (folder / kind).mkdir(exist_ok=True)
        image.save(folder / kind / f"{name}.png")


def cifar10(root: Path, per_class: int = 12) -> Path:
    """The Hub's CIFAR-10: Parquet files with `img` and `label`, names in the features."""
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as ImageFeature

    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    features = Features({"img": ImageFeature(), "label": ClassLabel(names=names)})
    for split, first in (("train", 0), ("test", 10_000)):
        images, labels = [], []
        for number in range(10 * per_class):
            path = root / "png" / f"{first + number}.png"
            photo(path, first + number, (32, 32))
            images.append({"bytes": path.read_bytes(), "path": None})
            labels.append(number % 10)
        folder = root / "cifar10" / "plain_text"
        folder.mkdir(parents=True, exist_ok=True)
        Dataset.from_dict({"img": images, "label": labels}, features=features).to_parquet(
            folder / f"{split}-00000-of-00001.parquet"
        )
    return root / "cifar10"

"""How long and how much memory the labels of COCO's 448 MB annotation file take, beside `json.load`.

    python bench/coco.py [--json]

The peer is what pycocotools does first: `json.load` of the whole file. The file is made here, as large
and of the same make as instances_train2017.json (118,287 images, 860,001 annotations with polygons).
Each contender runs in a process of its own, in turn. synthkit's own limit is 3 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES, ANNOTATIONS, CATEGORIES, CORNERS = 118_287, 860_001, 80, 23
SYNTHKIT = (
    "from synthkit.recipe.families import CocoSourceConfig; from synthkit.sources import open_source; "
    "print(len(open_source(CocoSourceConfig(kind='coco', root={root!r})).listing))"
)
PEER = (
    "import json; print(len(json.load(open({root!r} + '/annotations/instances_train2017.json'))['images']))"
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = write_instances(Path(folder) / "annotations" / "instances_train2017.json")
        size = file.stat().st_size / 1e6
        results = {
            name: run(code.format(root=folder))
            for name, code in (("synthkit", SYNTHKIT), ("json_load", PEER))
        }
    ours, peer = results["synthkit"], results["json_load"]
    results["ratios"] = {
        "json_load_seconds_vs_synthkit": peer["seconds"] / ours["seconds"],
        "json_load_megabytes_vs_synthkit": peer["megabytes"] / ours["megabytes"],
        "megabytes_of_3000": ours["megabytes"] / 3000,
    }
    if given.json:
        print(json.dumps({"file_megabytes": size, **results}, indent=2))
        return
    print(f"a file of {size:.0f} MB")
    for name, row in results.items():
        print(name, ", ".join(f"{key} {value:.2f}" for key, value in row.items()))


def write_instances(path: Path) -> Path:
    """Write an instances file whose entries have every key of the real one."""
    generator = random.Random(0)  # noqa: S311
    path.parent.mkdir(parents=True)
    ids = sorted(generator.sample(range(1, 581_929), IMAGES))
    with path.open("w") as stream:
        stream.write('{"info": {"year": 2017}, "licenses": [], "images": [')
        stream.write(", ".join(json.dumps(image(number)) for number in ids))
        stream.write('], "annotations": [')
        for number in range(1, ANNOTATIONS + 1):
            stream.write(
                json.dumps(annotation(number, generator, ids)) + (", " if number < ANNOTATIONS else "")
            )
        categories = [
            {"supercategory": "thing", "id": i, "name": f"thing {i}"} for i in range(1, CATEGORIES + 1)
        ]
        stream.write(f'], "categories": {json.dumps(categories)}}}')
    return path


def image(number: int) -> dict[str, object]:
    """One entry of `images`."""
    name = f"{number:012d}.jpg"
    return {
        "license": 3,
        "file_name": name,
        "coco_url": f"http://images.cocodataset.org/train2017/{name}",
        "height": 480,
        "width": 640,
        "date_captured": "2013-11-14 11:18:45",
        "flickr_url": "http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg",
        "id": number,
    }


def annotation(number: int, generator: random.Random, ids: list[int]) -> dict[str, object]:
    """One entry of `annotations`, its polygon included."""
    return {
        "segmentation": [[round(640 * generator.random(), 2) for _ in range(2 * CORNERS)]],
        "area": 10_000 * generator.random(),
        "iscrowd": 0,
        "image_id": generator.choice(ids),
        "bbox": [473.07, 395.93, 38.65, 28.67],
        "category_id": generator.randint(1, CATEGORIES),
        "id": number,
    }


def run(code: str) -> dict[str, float]:
    """Seconds and peak megabytes of a process."""
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, env=environment
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit("a contender failed")
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    megabytes = usage.ru_maxrss / (1000 if sys.platform == "linux" else 1e6)
    return {"seconds": time.perf_counter() - started, "megabytes": megabytes}


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# Makes tests/data/release-format-1: a preview of two images, which every later synthkit must read
# (tests/behaviour/test_format_1.py). It is committed and not made again once format 1 has been published; while
# the format is still being decided, run this after every change of the manifest, the records or the card:
#
#     tests/data/make_release_format_1.sh
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

PYTHONPATH=$repository python -c 'from tests.conftest import SMALL; print(SMALL, end="")' > recipe.yaml
PYTHONPATH=$repository python -m synthkit build recipe.yaml --limit 2 \
  --set output.shard_size=2 --set sampler.batch_size=2 --set sampler.steps=1

# Small enough to be committed: the picture, which no reader looks into, with few pixels and colours.
PYTHONPATH=$repository python - releases/small-preview <<'PYTHON'
import sys
from pathlib import Path

from PIL import Image

from synthkit.release.manifest import MANIFEST, file_facts, read_manifest

release = Path(sys.argv[1])
picture = release / "samples.png"
with Image.open(picture) as image:
    image.convert("L").reduce(2).quantize(4).save(picture, optimize=True)
manifest = read_manifest(release)
files = [file_facts(release, picture) if f.path == picture.name else f for f in manifest.files]
(release / MANIFEST).write_bytes(manifest.model_copy(update={"files": files}).sealed().to_json())
PYTHON
PYTHONPATH=$repository python -m synthkit verify releases/small-preview

target=$repository/tests/data/release-format-1
rm -rf "$target"
cp -R releases/small-preview "$target"
find "$target" -type f -exec cat {} + | wc -c

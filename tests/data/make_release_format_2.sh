#!/usr/bin/env bash
# Makes tests/data/release-format-2: a release of nine images that grew once, which every later synthkit must read
# (tests/behaviour/test_format_2.py). It is committed and not made again once format 2 has been published; while
# the format is still being decided, run this after every change of the manifest, the records or the card:
#
#     tests/data/make_release_format_2.sh
#
# The release says that an earlier version than any published one made it, so that sentences of the card may change.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cp -R "$repository/synthkit" .
sed -i 's/^__version__ = .*/__version__ = "0.2.0.dev1"/' synthkit/version.py
export PYTHONPATH=$work

cat > recipe.yaml <<'RECIPE'
name: small
version: 2.0.0
summary: A release for tests.
license: cc-by-4.0
source: {kind: digits, subset: [zero, one, two], max_per_class: 3, imbalance_factor: 3}
synthetic_per_class: 2
model: {id: "builtin:tiny-unclip-digits"}
sampler: {steps: 1, guidance_scale: 1.0, batch_size: 4}
filters: {blank: {min_deviation: 1.0}, near_copy: {}}
output: {shard_size: 4}
RECIPE
python -m synthkit build recipe.yaml
python -m synthkit grow recipe.yaml --target 3
python -m synthkit build recipe.yaml

# Small enough to be committed: the picture, which no reader looks into, with few pixels and colours.
python - releases/small <<'PYTHON'
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
python -m synthkit verify releases/small

target=$repository/tests/data/release-format-2
rm -rf "$target"
cp -R releases/small "$target"
find "$target" -type f -exec cat {} + | wc -c

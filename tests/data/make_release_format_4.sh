#!/usr/bin/env bash
# Makes tests/data/release-format-4 and release-format-5: releases of a few images that were chosen from several draws
# (filters.prefer), which every later synthkit must read (tests/behaviour/test_format_4.py). That of format 5 is also
# of a model that weighs images against the text. They are committed and not made again once the formats have been
# published; while these are still being decided, run this after every change of the manifest, the records or the card:
#
#     tests/data/make_release_format_4.sh
#
# The releases say that an earlier version than any published one made them, so that sentences of the card may change.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cp -R "$repository/synthkit" .
sed -i 's/^__version__ = .*/__version__ = "0.2.0.dev1"/' synthkit/version.py
export PYTHONPATH=$work:$repository

# A model without weights, of a family that the tests have.
cat > sitecustomize.py <<'PYTHON'
from synthkit.generators import PIPELINES

PIPELINES["TokenColoursPipeline"] = "tests.helpers.token_colours:TokenColours"
PYTHON
mkdir token-colours
printf '{"_class_name": "TokenColoursPipeline", "tokens": 17}' > token-colours/model_index.json

cat > 4.yaml <<'RECIPE'
name: small
version: 2.0.0
summary: A release for tests.
license: cc-by-4.0
source: {kind: digits, subset: [zero, one, two], max_per_class: 3, imbalance_factor: 3}
synthetic_per_class: 2
conditioning: {method: text-only}
model: {id: "builtin:flat-colours"}
sampler: {batch_size: 4}
filters: {prefer: {draws: 3}, near_copy: {max_similarity: 0.8, among: pool}}
output: {shard_size: 4}
RECIPE
python -m synthkit build 4.yaml
python -m synthkit grow 4.yaml --target 3
python -m synthkit build 4.yaml

cat > 5.yaml <<'RECIPE'
name: small
version: 2.0.0
summary: A release for tests.
license: cc-by-4.0
source: {kind: digits, subset: [zero, one, two], max_per_class: 3, imbalance_factor: 3}
synthetic_per_class: 2
conditioning: {method: embed-cutmix-dropout, drops: tokens, scale: [0.1, 0.9]}
model: {id: token-colours, license: cc0-1.0}
sampler: {batch_size: 4}
filters: {prefer: {draws: 3}}
output: {shard_size: 4}
RECIPE
python -m synthkit build 5.yaml --out five

for folder in releases/small five/small; do
    # Small enough to be committed: the picture, which no reader looks into, with few pixels and colours.
    python - $folder <<'PYTHON'
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
    python -m synthkit verify $folder
done

rm -rf "$repository"/tests/data/release-format-[45]
cp -R releases/small "$repository/tests/data/release-format-4"
cp -R five/small "$repository/tests/data/release-format-5"
find "$repository"/tests/data/release-format-[45] -type f -exec cat {} + | wc -c

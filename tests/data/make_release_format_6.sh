#!/usr/bin/env bash
# Makes tests/data/release-format-6 and release-format-7: releases of a few images that begin from real ones, noised at
# a strength, which every later synthkit must read (tests/behaviour/test_format_6.py). Those of format 7 were chosen from
# several draws (filters.prefer). They are committed and not made again once the formats have been published; while
# these are still being decided, run this after every change of the manifest, the records or the card:
#
#     tests/data/make_release_format_6.sh
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

cat > 6.yaml <<'RECIPE'
name: small
version: 2.0.0
summary: A release for tests.
license: cc-by-4.0
source: {kind: digits, subset: [zero, one, two], max_per_class: 3, imbalance_factor: 3}
synthetic_per_class: 2
conditioning: {method: real-guidance, strength: {choices: [0.25, 0.5, 1.0]}}
model: {id: "builtin:flat-colours"}
sampler: {batch_size: 4}
output: {shard_size: 4}
RECIPE
python -m synthkit build 6.yaml

sed 's/^conditioning:.*/conditioning: {method: real-guidance, strength: [0.3, 0.7]}/' 6.yaml > 7.yaml
echo 'filters: {prefer: {draws: 3}}' >> 7.yaml
python -m synthkit build 7.yaml --out seven

for folder in releases/small seven/small; do
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

rm -rf "$repository"/tests/data/release-format-[67]
cp -R releases/small "$repository/tests/data/release-format-6"
cp -R seven/small "$repository/tests/data/release-format-7"
find "$repository"/tests/data/release-format-[67] -type f -exec cat {} + | wc -c

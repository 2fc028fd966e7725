#!/usr/bin/env bash
# Makes tests/data/release-format-8: a release of a few real images that were retrieved from another source, which every
# later synthkit must read (tests/behaviour/test_format_8.py). It is committed and not made again once the format has
# been published; while it is still being decided, run this after every change of the manifest, the records or the card:
#
#     tests/data/make_release_format_8.sh
#
# The release says that an earlier version than any published one made it, so that sentences of the card may change.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cp -R "$repository/synthkit" .
sed -i 's/^__version__ = .*/__version__ = "0.2.0.dev1"/' synthkit/version.py
export PYTHONPATH=$work:$repository

cat > 8.yaml <<'RECIPE'
name: small
version: 2.0.0
summary: A release for tests.
license: cc-by-4.0
source: {kind: digits, subset: [zero, one, two], max_per_class: 3, imbalance_factor: 3}
synthetic_per_class: 2
conditioning: {method: retrieval}
retrieval: {source: {kind: digits, part: pretrain, limit_per_class: 3}}
model: {id: "builtin:flat-colours"}
sampler: {batch_size: 4}
output: {shard_size: 4}
RECIPE
python -m synthkit build 8.yaml

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

rm -rf "$repository/tests/data/release-format-8"
cp -R releases/small "$repository/tests/data/release-format-8"
find "$repository/tests/data/release-format-8" -type f -exec cat {} + | wc -c

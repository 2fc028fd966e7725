"""The digest of a small recipe, which no change may move, and the facts that it is computed with."""

from __future__ import annotations

from typing import Any

FACTS: dict[str, Any] = {"listing_digest": "l", "model": "m", "revision": "r", "form": 1}
PLAIN = "ff939da61877a305a77f2beb0dd2277d875913ddfc6664825b3ca0b2e074f3e5"

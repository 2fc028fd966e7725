"""The C2PA manifest of an image file: that it is generated, by what, and from which real images, signed.

It follows from the unsigned file, its record and the signer's certificates; only the signature takes the key.
So equal images get equal bytes, and `verify` writes a manifest again and compares. The writer of c2pa-python
gives other bytes each time: it salts every assertion at random, which the specification leaves open. Its
reader judges what is written here, before a build begins and in the tests.

Sources: C2PA Technical Specification 2.4 (claim v2, actions v2, ingredient v3, data hash); ISO/IEC 19566-5
(JUMBF); RFC 9052 and RFC 9360 (COSE_Sign1, x5chain); RFC 6920 (nih: a name by a SHA-256).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

from synthkit.release.embedded_manifest import embed_manifest, manifest_start
from synthkit.release.image_signer import SIGNATURE_BYTES
from synthkit.release.marks import SOURCE_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.release.image_signer import ImageSigner
    from synthkit.sources.base import SourceImage

# COSE's numbers: the header with the algorithm, that with the certificates, a message with one signature.
_ALGORITHM, _X5CHAIN, _SIGN1 = 1, 33, 18
_INGREDIENT, _ACTIONS, _HASH = "c2pa.ingredient.v3", "c2pa.actions.v2", "c2pa.hash.data"
# A manifest has to fit into one segment of a JPEG, of 64 kB.
_LONGEST = 65_000
# The length of a manifest before it is known; in CBOR it takes as many bytes as the real one.
_SOME_LENGTH = 1 << 12
_JUMBF_TYPE = bytes.fromhex("00110010800000aa00389b71")
_LABELLED = b"\x03"


class Described(Protocol):
    """What a manifest takes from the record of an image."""

    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def revision(self) -> str: ...  # noqa: D102
    @property
    def sources(self) -> tuple[SourceImage, ...]: ...  # noqa: D102


class Unsigned(NamedTuple):
    """A manifest whose last 64 bytes, the signature, are zero; and the bytes that are signed."""

    manifest: bytes
    to_sign: bytes

    def signed(self, signature: bytes) -> bytes:
        """Return the manifest with its signature, of 64 bytes."""
        return self.manifest[:-SIGNATURE_BYTES] + signature


def unsigned_manifest(image: bytes, extension: str, record: Described, signer: ImageSigner) -> Unsigned:
    """Return the manifest of an image file that has none; `record` is the record of the image.

    The record's `image_sha256` plays no part, since it covers the manifest. Raises ValueError, in a sentence
    about `its`, if the manifest is too long for every format, and ImportError if cbor2 is not installed.
    """
    draft, start = _draft(image, extension, record, signer), manifest_start(image, extension)
    # Of an even length, as WebP wants it.
    padding = bytes(len(draft.bound(start, _SOME_LENGTH, bytes(32), b"").manifest) % 2)
    unbound = draft.bound(start, _SOME_LENGTH, bytes(32), padding)
    if len(unbound.manifest) > _LONGEST:
        raise ValueError(f"its C2PA manifest would have more than {_LONGEST:,} bytes")
    file, length = embed_manifest(image, extension, unbound.manifest)
    rest = hashlib.sha256(file[:start] + file[start + length :]).digest()
    return draft.bound(start, length, rest, padding)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A manifest that is not bound to its file yet: the assertions, by their labels, and the claim."""

    label: str
    assertions: dict[str, bytes]
    claim: dict[str, Any]
    signer: ImageSigner

    def bound(self, start: int, length: int, rest: bytes, padding: bytes) -> Unsigned:
        """Return the manifest of a file; `rest` is the SHA-256 of the file without it."""
        import cbor2

        place = {"exclusions": [{"start": start, "length": length}]}
        binding = _assertion(_HASH, {**place, "alg": "sha256", "hash": rest, "pad": padding})
        assertions = self.assertions | {_HASH: binding}
        references = [_reference(label, box) for label, box in assertions.items()]
        claim = cbor2.dumps({**self.claim, "created_assertions": references})
        protected = cbor2.dumps({_ALGORITHM: self.signer.algorithm, _X5CHAIN: list(self.signer.certificates)})
        signature = cbor2.CBORTag(_SIGN1, [protected, {}, None, bytes(SIGNATURE_BYTES)])
        boxes = (
            _superbox(b"c2as", "c2pa.assertions", *assertions.values()),
            _superbox(b"c2cl", "c2pa.claim.v2", _box(b"cbor", claim)),
            _superbox(b"c2cs", "c2pa.signature", _box(b"cbor", cbor2.dumps(signature))),
        )
        manifest = _superbox(b"c2pa", "c2pa", _superbox(b"c2ma", self.label, *boxes))
        return Unsigned(manifest, cbor2.dumps(["Signature1", protected, b"", claim]))


def _draft(image: bytes, extension: str, record: Described, signer: ImageSigner) -> _Draft:
    ingredients = dict(_ingredients(record))
    created = {
        "action": "c2pa.created",
        "softwareAgent": {"name": record.model, "version": record.revision},
        "digitalSourceType": SOURCE_TYPE,
        "parameters": {"ingredients": [_reference(label, box) for label, box in ingredients.items()]},
    }
    actions = _assertion(_ACTIONS, {"actions": [created], "allActionsIncluded": True})
    # The specification wants the form of a random UUID.
    uuid = UUID(bytes=hashlib.sha256(image).digest()[:16], version=4)
    label = f"urn:c2pa:{uuid}"
    claim = {
        "instanceID": f"xmp:iid:{uuid}",
        "claim_generator_info": {"name": "synthkit"},
        "signature": f"self#jumbf=/c2pa/{label}/c2pa.signature",
        "dc:title": f"{record.key}.{extension}",
        "alg": "sha256",
    }
    return _Draft(label, {**ingredients, _ACTIONS: actions}, claim, signer)


def _ingredients(record: Described) -> Iterator[tuple[str, bytes]]:
    """Yield the real images of a record as assertions, each with its label."""
    for number, source in enumerate(record.sources):
        label = f"{_INGREDIENT}__{number}" if number else _INGREDIENT
        name = {"dc:title": source.id, "instanceID": f"nih:sha-256;{source.sha256}"}
        yield label, _assertion(label, {**name, "relationship": "inputTo"})


def _assertion(label: str, value: dict[str, Any]) -> bytes:
    import cbor2

    return _superbox(b"cbor", label, _box(b"cbor", cbor2.dumps(value)))


def _reference(label: str, box: bytes) -> dict[str, Any]:
    """Return a reference to an assertion; its hash leaves out the box's length and type."""
    return {"url": f"self#jumbf=c2pa.assertions/{label}", "hash": hashlib.sha256(box[8:]).digest()}


def _superbox(kind: bytes, label: str, *boxes: bytes) -> bytes:
    description = _box(b"jumd", kind + _JUMBF_TYPE + _LABELLED + label.encode() + b"\0")
    return _box(b"jumb", description + b"".join(boxes))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content

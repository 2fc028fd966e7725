"""The mark in an image file: an XMP packet that says the image is generated, by what, and which one it is.

That of a retrieved image says which real image it is, and not that it is generated.

It follows from the image's record, so `verify` writes it again and compares byte for byte.

Sources: IPTC Photo Metadata Standard 2025.1 (Digital Source Type, AI System Used, AI System Version Used, AI
Prompt Information); ISO 16684-1 (XMP).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import msgspec

from synthkit.recipe.filters import MAX_DRAWS
from synthkit.release.records import Provenance8
from synthkit.release.seeds import attempt_seed

if TYPE_CHECKING:
    from synthkit.release.records import Provenance

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
# The namespace of the properties that no standard has.
NAMESPACE = "urn:x-synthkit:mark#"
# A longer prompt is cut, because the mark of a JPEG must fit into one segment of 64 kB.
LONGEST_PROMPT = 1000
_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{source_type}"
 Iptc4xmpExt:AISystemUsed="{model}" Iptc4xmpExt:AISystemVersionUsed="{revision}"
 xmp:CreatorTool="synthkit" dc:source="{release}" dc:identifier="{key}"{since_format_2}/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""
_SINCE_FORMAT_2 = """
 Iptc4xmpExt:AIPromptInformation="{prompt}"
 xmlns:synthkit="{namespace}" synthkit:Seed="{seed}"{attempt_seed}
 synthkit:RecordDigest="{digest}\""""
_RETRIEVED = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmp:CreatorTool="synthkit" dc:source="{release}" dc:identifier="{key}"
 xmlns:synthkit="{namespace}" synthkit:RetrievedId="{id}" synthkit:RetrievedSHA256="{sha256}"
 synthkit:RecordDigest="{digest}"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""
# XML readers turn a line break or a tab in an attribute into a space, unless it is written as a reference.
_QUOTES = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def mark_of(record: Provenance, release: str) -> bytes:
    """Return the XMP packet of the image with a record, in UTF-8; `release` is the name of its release.

    Characters that XML cannot hold become U+FFFD. Raises ValueError if the record states more draws than
    any recipe allows.
    """
    if isinstance(record, Provenance8):
        return _mark_of_retrieved(record, release)
    packet = _PACKET.format(
        source_type=SOURCE_TYPE,
        model=_quoted(record.model),
        revision=_quoted(record.revision),
        release=_quoted(release),
        key=_quoted(record.key),
        since_format_2="" if record.FORMAT == 1 else _since_format_2(record),
    )
    return packet.encode()


def _mark_of_retrieved(record: Provenance8, release: str) -> bytes:
    """Return the packet of a retrieved image, which does not say that a model made it."""
    return _RETRIEVED.format(
        release=_quoted(release),
        key=_quoted(record.key),
        namespace=NAMESPACE,
        id=_quoted(record.retrieved_id),
        sha256=record.retrieved_sha256,
        digest=record_digest(record),
    ).encode()


def record_digest(record: Provenance) -> str:
    """Return the SHA-256 of a record's JSON with some fields empty, which ties an image to its record.

    The hash of the image is left out because the image holds this digest; scores, candidates, the digest of
    the recipe and the version of synthkit, so that equal images stay equal files when gates or other things
    change.
    """
    emptied: dict[str, Any] = dict.fromkeys(("image_sha256", record.DIGEST, "synthkit_version"), "")
    emptied |= {name: () for name in ("scores", "candidates") if name in record.__struct_fields__}
    return hashlib.sha256(msgspec.structs.replace(record, **emptied).to_json()).hexdigest()


def _since_format_2(record: Provenance) -> str:
    if record.attempt >= MAX_DRAWS:
        raise ValueError(f"its record's attempt is {record.attempt}")
    redrawn = f' synthkit:AttemptSeed="{attempt_seed(record.seed, record.attempt)}"' if record.attempt else ""
    long = len(record.prompt) > LONGEST_PROMPT
    return _SINCE_FORMAT_2.format(
        prompt=_quoted(f"{record.prompt[:LONGEST_PROMPT]}…" if long else record.prompt),
        namespace=NAMESPACE,
        seed=record.seed,
        attempt_seed=redrawn,
        digest=record_digest(record),
    )


def _quoted(value: str) -> str:
    # Most values need no quoting, and `escape` is slow.
    return value if value.isalnum() and value.isascii() else escape(_NOT_XML.sub("\ufffd", value), _QUOTES)

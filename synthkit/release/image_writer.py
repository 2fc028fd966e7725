"""Writes image files: pixels, and a mark in XMP that says the image is generated, by what, and which it is.

Source: IPTC Photo Metadata Standard, Digital Source Type (`trainedAlgorithmicMedia`), AI System Used;
ISO 16684-1 (XMP). Written into PNG (iTXt), JPEG (APP1) and WebP (XMP chunk) by Pillow.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from PIL import Image

from synthkit.errors import GeneratorError
from synthkit.recipe.schema import MAX_EDGE, Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
# XML readers turn a line break or a tab in an attribute into a space, unless it is written as a reference.
_QUOTES = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{source_type}"
 Iptc4xmpExt:AISystemUsed="{model}" Iptc4xmpExt:AISystemVersionUsed="{revision}"
 xmp:CreatorTool="synthkit" dc:source="{release}" dc:identifier="{key}"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of an image: the release's name, the sample's key, and the generator with its revision."""

    release: str
    key: str
    model: str
    revision: str

    def packet(self) -> bytes:
        """Return the XMP packet in UTF-8; characters of a name that XML cannot hold become U+FFFD."""
        values = {"release": self.release, "key": self.key, "model": self.model, "revision": self.revision}
        quoted = {name: _quoted(value) for name, value in values.items()}
        return _PACKET.format(source_type=SOURCE_TYPE, **quoted).encode()


def _quoted(value: str) -> str:
    # Most values need no quoting, and `escape` is slow.
    return value if value.isalnum() and value.isascii() else escape(_NOT_XML.sub("\ufffd", value), _QUOTES)


def save_options(image_format: str, packet: bytes) -> Mapping[str, object]:
    """Return the arguments with which Pillow's `save` writes an XMP packet into an image of a format."""
    if image_format != "png":
        return {"xmp": packet}
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    return {"pnginfo": info}


DEFAULT_QUALITY = 95


def encode(pixels: NDArray[np.uint8], output: Output, mark: Mark) -> tuple[bytes, tuple[int, int]]:
    """Encode an image, (H, W, 3) uint8, with its mark; return the file, and its width and height in pixels.

    The image is resized if `output.size` asks for it. Raises GeneratorError for an image that is larger
    than a release may hold.
    """
    image = Image.fromarray(pixels)
    if output.size is not None and image.size != (output.size, output.size):
        image = image.resize((output.size, output.size), Image.Resampling.LANCZOS)
    if max(image.size) > MAX_EDGE:
        made = f"{image.width}x{image.height}"
        raise GeneratorError(f"output.size: the model makes images of {made}; set it to {MAX_EDGE} or less")
    buffer = io.BytesIO()
    options = save_options(output.format, mark.packet())
    match output.format:
        case "png":
            image.save(buffer, "PNG", compress_level=6, **options)
        case "jpeg":
            image.save(buffer, "JPEG", quality=output.quality or DEFAULT_QUALITY, subsampling=0, **options)
        case "webp":
            image.save(buffer, "WEBP", quality=output.quality or DEFAULT_QUALITY, method=4, **options)
    return buffer.getvalue(), image.size

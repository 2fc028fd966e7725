"""Image files and tars that no build writes: what a stranger may put in their place."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthkit.recipe.output import Output
from synthkit.release.image_writer import encode, save_options
from synthkit.release.marks import mark_of
from tests.helpers.records import RECORD

MARK = mark_of(RECORD, "small")
# A segment of a JPEG, as far as it is looked at, with a C2PA manifest.
C2PA = b"JP\0\1\0\0\0\1x"
SIZE = (32, 24)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\nshowpage\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="24"><script>alert(1)</script></svg>'
OTHERS = ("GIF", "TIFF", "BMP", "PPM", "ICO", "JPEG2000", "AVIF", "PDF", "TGA", "PCX", "DDS", "SGI")
DECODED = ("pyd", "pickle", "pkl", "npy", "npz", "pth", "pt", "mp4", "ten", "cbor", "mp", "jpg", "PNG")
TYPES = {
    b"1": "a hard link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a disk",
    b"5": "a folder",
    b"6": "a pipe",
    b"7": "a contiguous file",
    b"S": "holes",
    b"L": "a long name",
    b"K": "a long target",
    b"x": "a pax header",
    b"g": "a pax header for all",
    b"D": "a dump of a folder",
    b"V": "the name of a volume",
    b"Z": "a type of its own",
    b"\0": "a file of the seventies",
}
FORMATS = {"png": "png", "jpg": "jpeg", "webp": "webp"}


def good(extension: str, size: tuple[int, int] = SIZE, mark: bytes = MARK) -> bytes:
    """An image file as a build writes it."""
    return encode(Image.fromarray(noise(size)), Output(format=FORMATS[extension]), mark)  # type: ignore[arg-type]


def noise(size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of a width and height."""
    return np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    """What Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def hostile(extension: str, mark: bytes = MARK, size: tuple[int, int] = SIZE) -> dict[str, bytes]:
    """Files that no build writes, under the name of one that it does, by what they are."""
    image = Image.new("RGB", size, "red")
    every = {name: raw for name in FORMATS if name != extension for raw in [good(name, size, mark)]}
    found = {f"a {name}": raw for name, raw in every.items()}
    found |= {form: saved(image, form) for form in OTHERS}
    found |= {"EPS": EPS, "SVG": SVG, "nothing": b"", "text": b"no image", "pickle": pickle.dumps([1])}
    whole = good(extension, size, mark)
    found |= {
        "cut short": whole[: len(whole) // 2],
        "one byte short": whole[:-1],
        "one byte more": whole + b"\0",
        "a zip behind it": whole + b"PK\x05\x06" + bytes(18),
        "itself twice": whole * 2,
        "the mark behind it": saved(image, FORMATS[extension]) + mark,
    }
    return found | {"png": png, "jpg": jpeg, "webp": webp}[extension](whole, image, mark)


def png(whole: bytes, image: Image.Image, mark: bytes) -> dict[str, bytes]:
    """Of a PNG: kinds of pixels, chunks, animations, sizes that are not true."""
    options = save_options("png", mark)
    kinds = ("L", "LA", "RGBA", "P", "1", "I;16")
    sixteen = png_of(*image.size, b"", depth=16)
    found = {f"mode {mode}": saved(image.convert(mode), "PNG", **options) for mode in kinds}
    bomb = zlib.compress(bytes(10**7))
    frames = {"save_all": True, "append_images": [Image.new("RGB", image.size, "blue")]}
    return found | {
        "sixteen bits": sixteen,
        "interlaced": png_of(*image.size, b"", interlace=1),
        "an animation": saved(image, "PNG", **frames, **options),
        "a profile": put(whole, b"iCCP", b"x\0\0" + bomb),
        "hidden text": put(whole, b"tEXt", b"secret\0of somebody"),
        "packed text": put(whole, b"zTXt", b"secret\0\0" + bomb),
        "a second mark": put(whole, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + mark),
        "two C2PA manifests": put(put(whole, b"caBX", b"x"), b"caBX", b"x"),
        "a C2PA manifest at its end": whole[:-12] + chunk(b"caBX", b"x") + whole[-12:],
        "a packed mark": png_of(*image.size, b"", xmp=b"XML:com.adobe.xmp\0\x01\0\0\0" + bomb),
        "Exif": put(whole, b"eXIf", b"MM\0*\0\0\0\x08\0\0"),
        "a chunk of its own": put(whole, b"prIv", b"secret"),
        "a size beyond the file": whole[:33] + b"\xff\xff\xff\xff" + whole[37:],
        "a damaged chunk": whole[:60] + bytes([whole[60] ^ 1]) + whole[61:],
        "100,000 pixels wide": png_of(100_000, 100_000, b""),
        "no pixels": png_of(0, 0, b""),
        "bytes in its end": whole[:-12] + chunk(b"IEND", b"secret"),
        "no data": whole[:8] + chunk(b"IHDR", whole[16:29]) + chunk(b"IEND", b""),
        "a chunk between its data": between_its_data(whole),
    }


def between_its_data(whole: bytes) -> bytes:
    """A PNG whose data stand in two parts, with a text between them."""
    start = whole.index(b"IDAT") - 4
    data = whole[start + 8 : -16]
    parts = chunk(b"IDAT", data[:9]), chunk(b"tEXt", b"a\0b"), chunk(b"IDAT", data[9:])
    return whole[:start] + b"".join(parts) + whole[-12:]


def jpeg(whole: bytes, image: Image.Image, mark: bytes) -> dict[str, bytes]:
    """Of a JPEG: colours, ways of encoding, segments, sizes that are not true."""
    packet = {"xmp": mark, "subsampling": 0, "quality": 95}
    after = 20
    return {
        "CMYK": saved(image.convert("CMYK"), "JPEG", **packet),
        "grey": saved(image.convert("L"), "JPEG", **packet),
        "progressive": saved(image, "JPEG", progressive=True, **packet),
        "restart markers": saved(image, "JPEG", restart_marker_rows=1, **packet),
        "a comment": saved(image, "JPEG", comment=b"secret", **packet),
        "a profile": saved(image, "JPEG", icc_profile=b"x" * 100, **packet),
        "Exif": saved(image, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0", **packet),
        "several pictures": saved(image, "MPO", save_all=True, append_images=[image], **packet),
        "a second mark": whole[:after] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0x") + whole[after:],
        "two C2PA manifests": whole[:after] + segment(0xEB, C2PA) * 2 + whole[after:],
        "an APP11 of its own": whole[:after] + segment(0xEB, b"JP\0\2" + C2PA[4:]) + whole[after:],
        "Photoshop": whole[:after] + segment(0xED, b"Photoshop 3.0\0") + whole[after:],
        "a thumbnail": b"\xff\xd8" + segment(0xE0, whole[6:18] + b"\x01\x01abc") + whole[after:],
        "65,535 pixels wide": whole.replace(
            b"\xff\xc0\0\x11\x08" + struct.pack(">HH", *image.size[::-1]), b"\xff\xc0\0\x11\x08" + b"\xff" * 4
        ),
        "a marker in its data": whole[:-40] + b"\xff\xfe\0\x08secret" + whole[-32:],
        "a segment without an end": whole[:after] + b"\xff\xe1\xff\xff" + whole[after:],
        "a segment without a beginning": whole[:after] + b"\xff\xe1\0\0" + whole[after:],
    }


def webp(whole: bytes, image: Image.Image, mark: bytes) -> dict[str, bytes]:
    """Of a WebP: animations, transparency, chunks, sizes that are not true."""
    packet = {"xmp": mark}
    frames = {"save_all": True, "append_images": [Image.new("RGB", image.size, "blue")]}
    clear = Image.new("RGBA", image.size, (255, 0, 0, 100))
    wide = bytearray(whole)
    wide[24:30] = b"\xff" * 6
    frame = bytearray(saved(image, "WEBP"))
    frame[26:30] = b"\xff" * 4
    return {
        "an animation": saved(image, "WEBP", **frames, **packet),
        "lossless": saved(image, "WEBP", lossless=True, **packet),
        "transparent": saved(clear, "WEBP", **packet),
        "a profile": saved(image, "WEBP", icc_profile=b"x" * 100, **packet),
        "Exif": saved(image, "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0", **packet),
        "a chunk of its own": riff(whole[12:] + b"prIv" + struct.pack("<I", 6) + b"secret"),
        "a second mark": riff(whole[12:] + b"XMP " + struct.pack("<I", 2) + b"xx"),
        "two C2PA manifests": riff(whole[12:] + (b"C2PA" + struct.pack("<I", 2) + b"xx") * 2),
        "a C2PA manifest that comes first": riff(b"C2PA" + struct.pack("<I", 2) + b"xx" + whole[12:]),
        "a canvas of 2^24 pixels": bytes(wide),
        "16,383 pixels wide": bytes(frame),
        "a size beyond the file": whole[:4] + b"\xff\xff\xff\x7f" + whole[8:],
        "nothing inside": riff(b""),
    }


def data_of_pngs(size: tuple[int, int] = SIZE, mark: bytes = MARK) -> dict[str, bytes]:
    """PNGs with a good header, whose data are too much, too little, or damaged: found by `--deep`."""
    width, height = size
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + mark
    right = bytes((3 * width + 1) * height)
    packed = zlib.compress(right)
    return {
        name: png_of(width, height, data, xmp=xmp)
        for name, data in {
            "a bomb": zlib.compress(bytes(10**7)),
            "a row more": zlib.compress(right + bytes(3 * width + 1)),
            "a byte more": zlib.compress(right + b"\0"),
            "a byte less": zlib.compress(right[:-1]),
            "something behind it": packed + b"secret",
            "another behind it": packed + packed,
            "no end": packed[:-5],
            "a wrong sum": packed[:-1] + bytes([packed[-1] ^ 1]),
            "no deflate": b"secret",
        }.items()
    }


def png_of(
    width: int, height: int, data: bytes, *, depth: int = 8, interlace: int = 0, xmp: bytes = b""
) -> bytes:
    """A PNG of RGB with any size and data."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, interlace)
    text = chunk(b"iTXt", xmp) if xmp else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def put(whole: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with a chunk more, after its header."""
    return whole[:33] + chunk(kind, body) + whole[33:]


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def riff(chunks: bytes) -> bytes:
    """A WebP of these chunks."""
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def field(header: bytearray, start: int, size: int, value: bytes) -> bytes:
    """A header of a tar with another field, and the sum that goes with it."""
    header[start : start + size] = value[:size].ljust(size, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def whole_tar(blocks: bytes) -> bytes:
    """Blocks, and the end of a tar."""
    ended = blocks + bytes(1024)
    return ended + bytes(-len(ended) % tarfile.RECORDSIZE)


def block(name: str, content: bytes) -> tuple[bytearray, bytes]:
    """Header and content of a member, as `shards.py` writes them."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    return bytearray(member.tobuf(tarfile.USTAR_FORMAT)), content + bytes(-len(content) % 512)


def hostile_tars(members: list[tuple[str, bytes]], canary: Path) -> Iterator[tuple[str, bytes]]:
    """Tars like one, in which something is wrong with its first image, by what that is."""
    place = 2  # KEY.cls, KEY.json, KEY.png
    header, body = block(*members[place])
    before = b"".join(b"".join(block(*member)) for member in members[:place])
    after = b"".join(b"".join(block(*member)) for member in members[place + 1 :])

    def tar(one: bytes, what: bytes = body) -> bytes:
        return whole_tar(before + one + what + after)

    sizes = {
        "a negative size": b"-0000000512\0",
        "a size of 2^63 in base 256": b"\x80\0\0\0\x7f" + b"\xff" * 7,
        "a negative size in base 256": b"\xff" * 12,
        "a size of 8 GiB": b"77777777777\0",
        "a size in spaces": b" 512       \0",
        "no size": b"\0" * 12,
        "a size with a plus": b"+0000000512\0",
    }
    for name, size in sizes.items():
        yield name, tar(field(header.copy(), 124, 12, size))
    for letter, name in TYPES.items():
        linked = bytearray(field(header.copy(), 156, 1, letter))
        yield name, tar(field(linked, 157, 100, b"/etc/passwd"))
    yield "a link's target in a file", tar(field(header.copy(), 157, 100, b"/etc/passwd"))
    yield "a name in two parts", tar(field(header.copy(), 345, 155, b"../.."))
    yield "another format of tars", tar(field(header.copy(), 257, 8, b"ustar  \0"))
    yield "a wrong sum", tar(bytes(header[:148]) + b"000000\0 " + bytes(header[156:]))
    key = members[place][0].partition(".")[0]
    one, more = b"".join(block(*members[place])), b"".join(block(f"{key}.png", b"another"))
    yield "an image twice", tar(one + more, b"")
    yield "another image first", tar(more + one, b"")
    yield "no image", whole_tar(before + after)
    yield (
        "an image before its record",
        whole_tar(b"".join(b"".join(block(*members[number])) for number in (0, 2, 1)) + after),
    )
    yield "no end", (before + one + after)
    yield "zeros in the middle", whole_tar(before + one + bytes(1024) + after)
    yield "cut short", (before + one)[:-700]
    yield "an endless file of nothing", whole_tar(before + one + after) + bytes(1 << 16)
    yield "nothing", b""
    yield "a pickle", pickle.dumps(Canary(canary))


def strange_members(key: str, canary: Path) -> Iterator[tuple[str, bytes]]:
    """Members beside an image, each for a decoder that webdataset has."""
    run = pickle.dumps(Canary(canary))
    for extension in DECODED:
        yield f"{key}.{extension}", run
    yield f"{key}.png.pyd", run
    yield f"./{key}.png", b"another"
    yield f"../{key}.png", b"another"
    yield "__init__.py", b"raise SystemExit"

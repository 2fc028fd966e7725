"""Images as they are found in the world: converted as a person sees them, or refused by name."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthkit.errors import UnreadableImage
from synthkit.sources.decoding import decode
from tests.conftest import FLAT, Cli

RED = (200, 30, 40)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pixel(raw: bytes, at: tuple[int, int] = (5, 5)) -> tuple[int, int, int]:
    image = decode(raw, "x")
    assert image.mode == "RGB"
    found = image.getpixel(at)
    assert isinstance(found, tuple)
    return found


def near(found: tuple[int, ...], wanted: tuple[int, ...], by: int = 8) -> bool:
    return all(abs(a - b) <= by for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_every_usual_format(form: str) -> None:
    assert near(pixel(encoded(Image.new("RGB", (12, 9), RED), form)), RED)


def test_cmyk_jpeg_is_not_inverted() -> None:
    raw = encoded(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(raw)).mode == "CMYK"
    assert near(pixel(raw), RED, 12)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_not_clipped(form: str) -> None:
    raw = encoded(Image.fromarray(np.full((9, 9), 0x4080, np.uint16)), form)
    assert pixel(raw) == (0x40, 0x40, 0x40)


def test_sixteen_bit_colour() -> None:
    rows = b"".join(b"\0" + struct.pack(">HHH", 0xC800, 0x1E00, 0x2800) * 9 for _ in range(9))
    assert near(pixel(png(9, 9, 16, 2, zlib.compress(rows))), RED, 1)


def test_transparency_is_white_whatever_colour_lies_under_it() -> None:
    clear = Image.new("RGBA", (12, 12), (0, 0, 0, 0))
    clear.paste((*RED, 255), (0, 0, 8, 8))
    for raw in (
        encoded(clear, "PNG"),
        encoded(clear, "WEBP", lossless=True),
        encoded(clear.convert("LA"), "PNG"),
    ):
        assert pixel(raw, (10, 10)) == (255, 255, 255)
    assert pixel(encoded(clear, "PNG")) == RED
    half = Image.new("RGBA", (12, 12), (0, 0, 0, 128))
    assert near(pixel(encoded(half, "PNG")), (127, 127, 127), 1)


def test_palettes_with_and_without_transparency() -> None:
    image = Image.new("P", (12, 12), 1)
    image.putpalette([0, 0, 0, *RED, 9, 9, 9])
    image.paste(2, (8, 8, 12, 12))
    assert pixel(encoded(image, "PNG")) == RED
    seen = encoded(image, "PNG", transparency=2)
    assert (pixel(seen), pixel(seen, (10, 10))) == (RED, (255, 255, 255))
    assert pixel(encoded(image, "GIF", transparency=2), (10, 10)) == (255, 255, 255)


def test_grey_and_bilevel() -> None:
    assert pixel(encoded(Image.new("L", (9, 9), 77), "JPEG", quality=100)) == (77, 77, 77)
    assert pixel(encoded(Image.new("1", (9, 9), 1), "PNG")) == (255, 255, 255)


@pytest.mark.parametrize(
    ("orientation", "size"), [(1, (40, 20)), (3, (40, 20)), (6, (20, 40)), (8, (20, 40))]
)
def test_photographs_are_upright(orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif), "x").size == size


def test_an_animation_is_its_first_picture() -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in (RED, (0, 0, 255))]
    for form in ("GIF", "WEBP"):
        raw = encoded(frames[0], form, save_all=True, append_images=frames[1:], lossless=True)
        assert near(pixel(raw), RED)


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 10_000), (100_000, 100_000)])
def test_a_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    bomb = png(*size, 1, 0, zlib.compress(bytes(size[0] // 8 * 100)))
    with pytest.raises(
        UnreadableImage, match=r"photo\.png: cannot be read: it has more than 178,956,970 pixels"
    ):
        decode(bomb, "photo.png")


def test_a_large_photograph_is_read_without_a_warning() -> None:
    script = (
        "import io; from PIL import Image; from synthkit.sources.decoding import decode; raw = io.BytesIO(); "
        "Image.new('1', (9_500, 9_500)).save(raw, 'PNG'); print(decode(raw.getvalue(), 'x').size)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(9500, 9500)\n", "")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "it is not an image of a known format"),
        (b"<html>404</html>", "it is not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is not an image of a known format"),
        (encoded(Image.effect_noise((60, 60), 50), "JPEG")[:900], "truncated"),
        (encoded(Image.effect_noise((60, 60), 50), "PNG")[:900], "truncated"),
        (encoded(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"), "floating-point"),
        (encoded(Image.fromarray(np.full((9, 9), 200, np.int32)), "TIFF"), "32-bit numbers"),
    ],
)
def test_what_is_no_whole_image_is_refused_by_name(raw: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage) as caught:
        decode(raw, "cat/a.jpg")
    assert str(caught.value).startswith("cat/a.jpg: cannot be read: ")
    assert reason in caught.value.reason


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_damaged_files_never_crash(form: str) -> None:
    whole = encoded(Image.effect_noise((24, 24), 60).convert("RGB"), form)
    rng = np.random.default_rng(1)
    for _ in range(150):
        raw = bytearray(whole)
        for place in rng.integers(0, len(raw), 4):
            raw[place] = rng.integers(0, 256)
        raw = raw[: rng.integers(1, len(raw) + 1)]
        try:
            assert decode(bytes(raw), "x").mode == "RGB"
        except UnreadableImage as error:
            assert error.reason
            assert "\n" not in error.reason


def test_they_all_build(cli: Cli) -> None:
    """A folder as users have them, names and all."""
    folder = cli.folder / "images" / "größe 7"
    folder.mkdir(parents=True)
    red = Image.new("RGB", (40, 30), RED)
    exif = Image.Exif()
    exif[0x0112] = 6
    red.save(folder / "über uns.JPG", exif=exif)
    red.convert("CMYK").save(folder / "druck (1).jpeg", "JPEG")
    red.convert("P").save(folder / "été.png")
    Image.new("RGBA", (30, 30), (*RED, 99)).save(folder / "猫.png")
    Image.fromarray(np.full((30, 30), 999, np.uint16)).save(folder / "x-ray.tiff")
    red.save(folder / "a.webp")
    red.convert("L").save(folder / "grey.jpg")
    changes = ("source.kind=folder", "source.root=images", "conditioning.method=mixup", "target_per_class=9")
    flags = [*FLAT, *(word for change in changes for word in ("--set", change))]
    result = cli("build", cli.recipe(), *flags)
    assert result.exit_code == 0, result.output
    manifest = json.loads((cli.folder / "releases/small/manifest.json").read_text())
    assert (manifest["source"]["images"], manifest["classes"][0]["name"]) == (7, "größe 7")
    assert cli("verify", Path("releases/small")).exit_code == 0

"""Colours as a person sees them: profiles and gammas followed, and nothing moved that is sRGB already."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image, ImageCms

from synthkit.sources.decoding import decode
from tests.helpers import profiles

GREEN = (30, 200, 60)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pixel(raw: bytes) -> tuple[int, ...]:
    found = decode(raw, "x").getpixel((5, 5))
    assert isinstance(found, tuple)
    return tuple(int(value) for value in found)


def plain(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (12, 12), colour)


def adobe_as_srgb(colour: tuple[int, ...]) -> np.ndarray:
    """By the definitions: Adobe RGB (1998) and IEC 61966-2-1, both adapted to D50."""
    srgb = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
    linear = (np.array(colour) / 255) ** 2.19921875
    seen = np.clip(np.linalg.inv(srgb) @ np.array(profiles.ADOBE).T @ linear, 0, 1)
    return 255 * np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(
    ("form", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("JPEG", {})]
)
def test_a_profile_is_followed(form: str, options: dict[str, Any]) -> None:
    colour = (100, 160, 120)
    raw = encoded(plain("RGB", colour), form, icc_profile=profiles.rgb(), quality=100, **options)
    assert np.abs(adobe_as_srgb(colour) - pixel(raw)).max() <= (3 if form == "JPEG" else 1.5)
    # Which is not what the file's numbers would be in sRGB.
    assert np.abs(np.array(colour) - pixel(raw)).max() > 5


def test_transparent_pixels_palettes_and_grey_follow_their_profile_too() -> None:
    wanted = adobe_as_srgb((100, 160, 120))
    clear = plain("RGBA", (100, 160, 120, 255))
    clear.paste((0, 0, 0, 0), (8, 8, 12, 12))
    image = decode(encoded(clear, icc_profile=profiles.rgb()), "x")
    assert np.abs(wanted - image.getpixel((5, 5))).max() <= 1.5
    assert image.getpixel((10, 10)) == (255, 255, 255)
    palette = plain("RGB", (100, 160, 120)).quantize(2)
    assert np.abs(wanted - pixel(encoded(palette, icc_profile=profiles.rgb()))).max() <= 1.5
    # 0.5 ** 1.0 of the light is sRGB's 188.
    assert pixel(encoded(plain("L", 128), icc_profile=profiles.grey(1.0)))[0] in range(186, 191)
    sixteen = Image.fromarray(np.full((12, 12), 0x8000, np.uint16))
    assert pixel(encoded(sixteen, icc_profile=profiles.grey(1.0)))[0] in range(186, 191)
    # A grey picture that a camera's profile explains.
    assert pixel(encoded(plain("L", 128), icc_profile=profiles.rgb(gamma=1.0)))[0] in range(186, 191)


def test_inks_are_printed_by_their_profile() -> None:
    inks = plain("CMYK", (255, 0, 0, 0))
    without = pixel(encoded(inks, "JPEG", quality=100))
    assert without[0] < 20
    for form in ("JPEG", "TIFF"):
        red, green, blue = pixel(encoded(inks, form, icc_profile=profiles.cmyk()))
        # L* = 195 / 255 of 100.
        assert max(red, green, blue) - min(red, green, blue) <= 3
        assert abs(green - 186) <= 6


def srgb_profiles() -> list[bytes]:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
    with Image.open(photo) as image:
        return [own, image.info["icc_profile"]]


@pytest.mark.parametrize("number", [0, 1])
def test_an_image_in_srgb_keeps_its_pixels(number: int) -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    raw = encoded(noise, icc_profile=srgb_profiles()[number])
    assert Image.open(io.BytesIO(raw)).info["icc_profile"]
    assert (np.asarray(decode(raw, "x")) == np.asarray(noise)).all()


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile",
        bytes(128),
        profiles.rgb()[:200],
        profiles.rgb()[:16] + b"9CLR" + profiles.rgb()[20:],
        profiles.rgb() + bytes(8_000_000),
        profiles.cmyk(),
        profiles.grey(1.0),
    ],
    ids=["text", "zeros", "cut short", "nine inks", "8 MB", "of inks", "of grey"],
)
def test_a_profile_that_cannot_be_used_is_passed_over(profile: bytes) -> None:
    assert pixel(encoded(plain("RGB", GREEN), "TIFF", icc_profile=profile)) == GREEN


def test_damaged_profiles_never_crash() -> None:
    rng = np.random.default_rng(1)
    for whole in (profiles.rgb(), profiles.cmyk()):
        for _ in range(8):
            damaged = bytearray(whole)
            for place in rng.integers(0, len(whole), 6):
                damaged[place] = rng.integers(0, 256)
            mode = "CMYK" if whole[16:20] == b"CMYK" else "RGB"
            assert decode(encoded(plain(mode, 9), "TIFF", icc_profile=bytes(damaged)), "x").mode == "RGB"


def test_threads_agree() -> None:
    rng = np.random.default_rng(2)
    images = [Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)) for _ in range(24)]
    raws = [encoded(image, icc_profile=profiles.rgb(gamma=2 + n % 3 / 5)) for n, image in enumerate(images)]
    alone = [decode(raw, "x").tobytes() for raw in raws]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda raw: decode(raw, "x").tobytes(), raws)) == alone


@pytest.mark.parametrize(
    ("gamma", "srgb", "wanted"), [(1.0, False, 186), (0.45455, False, 128), (1.0, True, 128)]
)
def test_the_gamma_of_a_png_is_followed_where_it_is_not_that_of_srgb(
    gamma: float, srgb: bool, wanted: int
) -> None:
    raw = encoded(plain("RGB", (128, 128, 128)))
    chunk = b"gAMA" + struct.pack(">I", round(gamma * 100_000))
    chunks = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    if srgb:
        chunks += struct.pack(">I", 1) + b"sRGB\0" + struct.pack(">I", zlib.crc32(b"sRGB\0"))
    assert abs(pixel(raw[:33] + chunks + raw[33:])[0] - wanted) <= 1


def test_lab_is_a_colour_too() -> None:
    lab = ImageCms.profileToProfile(
        plain("RGB", GREEN), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    assert np.abs(np.array(GREEN) - pixel(encoded(lab, "TIFF"))).max() <= 4

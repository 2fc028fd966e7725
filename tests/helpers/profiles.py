"""ICC profiles as cameras, scanners and presses write them, made here from the specification (ICC.1:2022)."""

from __future__ import annotations

import struct

# Red, green and blue of Adobe RGB (1998), adapted to D50, and its gamma.
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
D50 = (0.9642, 1.0, 0.8249)


def rgb(columns: tuple[tuple[float, ...], ...] = ADOBE, gamma: float = 2.19921875) -> bytes:
    """A profile of three primaries and a gamma."""
    tags = {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    return _profile(b"RGB ", b"XYZ ", {**tags, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(gamma))})


def grey(gamma: float) -> bytes:
    """A profile of grey levels."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma)})


def cmyk() -> bytes:
    """A profile of a press whose every ink prints the same grey: 16 corners of L*, a* = b* = 0."""
    corners = bytes(value for number in range(16) for value in (255 - 60 * number.bit_count(), 128, 128))
    line = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 if place % 4 == 0 else 0 for place in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + line * 4 + corners + line * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": table}, kind=b"prtr")


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def _profile(space: bytes, between: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    text = b"a profile for tests"
    about = b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)
    tags = {b"desc": about, b"wtpt": _xyz(D50), b"cprt": b"text" + bytes(4) + b"public\0", **tags}
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"test", 0x02400000, kind, space, between)
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *(round(v * 65536) for v in D50))
    return head.ljust(128, b"\0") + table + body

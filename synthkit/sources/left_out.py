"""Pictures among the real images that are in formats that are not read: found, counted and reported."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath

from synthkit.sources.decoding import EXTENSIONS

# Endings of pictures that are not decoded: those of phones, cameras, drawings, printing, science and games.
_PICTURES = frozenset(
    """
    .heic .heif .heics .heifs .hif .avci .avif .avifs .jxl .jxr .wdp .hdp .jp2 .j2k .j2c .jpc .jpf .jpx .jpm
    .svg .svgz .eps .epsf .ps .ai .cdr .emf .wmf .pdf .psd .psb .xcf .kra .clip .ora .indd
    .raw .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .dng .orf .rw2 .raf .pef .srw .3fr .fff .iiq .rwl .x3f
    .mrw .kdc .dcr .erf .mef .mos .ico .icns .cur .tga .dds .exr .hdr .pfm .pcx .sgi .ras .xbm .xpm .djvu
    .djv .dcm .dicom .fits .fit .nii .nrrd .mha .svs .ndpi .czi .lif .bpg .flif .pct .pict .jps .jls
    """.split()  # noqa: SIM905 (one on each line would be a page)
)
_ARCHIVES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"})
# Endings of files that often lie beside images and hold no picture; their content is not looked at.
_NO_PICTURES = frozenset(
    """
    .txt .json .jsonl .xml .csv .tsv .yaml .yml .md .html .htm .js .css .ini .cfg .toml .log .db .lnk .url
    .py .pyc .ipynb .sh .bat .npy .npz .mat .pkl .pt .pth .h5 .hdf5 .parquet .arrow .tfrecord .dvc .lock
    .aae .xmp .thm .mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .wav .mp3 .doc .docx .xls .xlsx .ppt .pptx .tmp
    """.split()  # noqa: SIM905
)
_BEGINNINGS = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*", b"qoif"),
    *(b"8BPS", b"%!PS", b"%PDF"),
)
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"jxl ")
# After this many files of one ending without a picture, no more files of that ending are looked into.
_ENOUGH = 16

# What operating systems and tools put among images.
JUNK = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"})


@dataclass(slots=True)
class LeftOut:
    """Counts, by ending, of a folder's pictures and archives that are left out."""

    pictures: Counter[str] = field(default_factory=Counter)
    archives: Counter[str] = field(default_factory=Counter)
    _others: Counter[str] = field(default_factory=Counter)

    def look_at(self, path: str, *, known: bool = False) -> None:
        """Count a file that is left out, if it is a picture (which `known` states) or an archive."""
        ending = PurePath(path).suffix.lower()
        if known or ending in _PICTURES:
            self.pictures[ending] += 1
        elif ending in _ARCHIVES:
            self.archives[ending] += 1
        elif ending not in _NO_PICTURES and self._others[ending] < _ENOUGH:
            if begins_like_a_picture(path):
                self.pictures[ending or "without an ending"] += 1
            else:
                self._others[ending] += 1

    def told(self) -> list[str]:
        """Return what was left out and what to do, a line each."""
        lines = []
        if self.pictures:
            lines.append(f"{_counted(self.pictures)}: convert to JPEG or PNG what should be used")
        if self.archives:
            lines.append(f"{_counted(self.archives)}: unpack what should be used")
        return lines


def begins_like_a_picture(path: str) -> bool:
    """Return whether the first bytes of a file are those of a picture; False if it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            return False
        with open(path, "rb") as stream:  # noqa: PTH123
            return is_picture(stream.read(16))
    except OSError:
        return False


def is_picture(head: bytes) -> bool:
    """Return whether the first 16 bytes of a file are those of a picture in a usual format."""
    riff = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(_BEGINNINGS) or riff or (head[4:8] == b"ftyp" and head[8:12] in _BRANDS)


def has_image_ending(name: str) -> bool:
    """Return whether a name has the ending of an image that is read."""
    return name[name.rfind(".") :].lower() in EXTENSIONS


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden: `.x`, macOS's `._x.jpg`, folders of operating systems."""
    return name.startswith(".") or name in JUNK


def _counted(endings: Counter[str]) -> str:
    total = endings.total()
    each = ", ".join(
        f"{endings[ending]:,} {ending}" for ending in sorted(endings, key=lambda e: (-endings[e], e))
    )
    return f"{total:,} file{'s were' if total != 1 else ' was'} left out: {each}"

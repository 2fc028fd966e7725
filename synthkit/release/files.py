"""The files of a release: one row each, with who writes it, which releases have it, and what checks it.

A release holds these files and no others: `verify` and `pull` refuse any other name. A new file needs a
function that writes it, a function that checks it (in `verification/checks.py`), and a row here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from synthkit.release.containers import CONTAINERS

SPLIT = "train"
MANIFEST = "manifest.json"
# The shards, whose extension is the name of their container.
SHARDS = f"data/{SPLIT}-*"
RECORDS = f"provenance/{SPLIT}-*.parquet"
RECIPE = "recipe.yaml"
CARD = "README.md"
SAMPLES = "samples.png"
TOKENS = "tokens.safetensors"
CLASSIFIER = "classifier.safetensors"
CROISSANT = "croissant.json"
AUDIT = "audit.json"
AUDIT_PICTURE = "audit.png"
SIGNATURE = f"{MANIFEST}.sig"

# The manifest, the shards and the table of records are checked while they are read; the other checks
# derive a file again and compare.
Check = Literal[
    "manifest",
    "shard",
    "record table",
    "card",
    "croissant",
    "recipe",
    "samples",
    "tokens",
    "classifier",
    "audit",
    "audit picture",
    "signature",
]

# What git, DVC and the Hub's client put into a copy of a release; `verify` ignores it.
PUT_THERE_BY_TOOLS = frozenset({".git", ".gitattributes", ".gitignore", ".cache", ".dvc", ".huggingface"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """A file of a release; a row whose name has a `*` stands for several.

    `name` is the path inside the release, `check` names the check that `verify` runs on it.
    `stated_in` is the field of the manifest that is set if and only if the release has the file; it is
    empty for other files. `in_manifest` says whether the manifest lists the file, with size and SHA-256: it
    cannot list itself, nor the signature over it. A release may have an `optional` file or not, and nothing
    states which. `is_data` files are what `croissant.json` describes. A file
    that `names_repository` is written anew when the release is published under another name.
    `in_card` is what the card says of it; empty if the card's list of files leaves it out.
    """

    name: str
    writer: Literal["build", "audit", "sign"]
    check: Check
    stated_in: str = ""
    in_manifest: bool = True
    optional: bool = False
    is_data: bool = False
    names_repository: bool = False
    in_card: str = ""

    @property
    def required(self) -> bool:
        """Whether every release has it."""
        return not self.stated_in and not self.optional

    def paths(self, shards: int, blocks: int, form: int, container: str) -> list[str]:
        """Return the paths of the file, or files, in a release of a format with so many shards and blocks."""
        if self.name == SHARDS:
            return shard_paths(shards, form, container)
        return table_paths(blocks, form) if self.name == RECORDS else [self.name]


# In the order in which `verify` checks derived files and the card lists files.
FILES = (
    ReleaseFile(name=SHARDS, writer="build", check="shard", is_data=True),
    ReleaseFile(
        name=RECORDS,
        writer="build",
        check="record table",
        is_data=True,
        in_card="one row per image: its record, the same as beside the image",
    ),
    ReleaseFile(name=CARD, writer="build", check="card", names_repository=True),
    ReleaseFile(name=CROISSANT, writer="build", check="croissant", names_repository=True),
    ReleaseFile(
        name=RECIPE, writer="build", check="recipe", names_repository=True, in_card="the recipe, complete"
    ),
    ReleaseFile(name=SAMPLES, writer="build", check="samples"),
    ReleaseFile(name=TOKENS, writer="build", check="tokens", stated_in="tokens"),
    ReleaseFile(name=CLASSIFIER, writer="build", check="classifier", stated_in="feedback"),
    ReleaseFile(
        name=MANIFEST,
        writer="build",
        check="manifest",
        in_manifest=False,
        in_card="size and SHA-256 of every file, counts, versions",
    ),
    ReleaseFile(name=AUDIT, writer="audit", check="audit", stated_in="audit"),
    ReleaseFile(name=AUDIT_PICTURE, writer="audit", check="audit picture", stated_in="audit"),
    ReleaseFile(name=SIGNATURE, writer="sign", check="signature", in_manifest=False, optional=True),
)

_SHARD = re.compile(re.escape(SHARDS).replace(r"\*", r"[^/]*\.") + f"({'|'.join(CONTAINERS)})")
# Releases of format 1 have one table, without a number.
_TABLE = re.compile(re.escape(RECORDS).replace(r"\-\*", "(-[0-9]{5,})?"))


def is_shard(path: str) -> bool:
    """Return whether a path inside a release is one that readers load as a shard."""
    return _SHARD.fullmatch(path) is not None


def is_table(path: str) -> bool:
    """Return whether a path inside a release is that of a table of records, of any format."""
    return _TABLE.fullmatch(path) is not None


def row_of(path: str) -> ReleaseFile | None:
    """Return the row for a path inside a release; None for a path that no release has."""
    name = SHARDS if is_shard(path) else RECORDS if is_table(path) else path
    return next((row for row in FILES if row.name == name), None)


def is_data(path: str) -> bool:
    """Return whether a path is that of a shard or of a table of records."""
    row = row_of(path)
    return row is not None and row.is_data


def shard_name(shard: int, container: str) -> str:
    """Return the name of a shard's file: `train-00003.tar`; without the total, since a release can grow."""
    return f"{SPLIT}-{shard:05d}.{container}"


def shard_path(shard: int, container: str) -> str:
    """Return the path of a shard inside a release: `data/train-00003.tar`."""
    return f"data/{shard_name(shard, container)}"


def shard_paths(shards: int, form: int, container: str) -> list[str]:
    """Return the paths of all shards of a release of a format; those of format 1 say how many there are."""
    if form == 1:
        return [f"data/{SPLIT}-{shard:05d}-of-{shards:05d}.{container}" for shard in range(shards)]
    return [shard_path(shard, container) for shard in range(shards)]


def shard_pattern(container: str) -> str:
    """Return the pattern that fits the shards of a release and nothing else: `data/train-*.tar`."""
    return f"{SHARDS}.{container}"


def table_path(block: int) -> str:
    """Return the path of the table of records of a block: `provenance/train-00000.parquet`."""
    return f"provenance/{SPLIT}-{block:05d}.parquet"


def table_paths(blocks: int, form: int) -> list[str]:
    """Return the paths of all tables of records of a release of a format with so many blocks."""
    return [f"provenance/{SPLIT}.parquet"] if form == 1 else [table_path(block) for block in range(blocks)]

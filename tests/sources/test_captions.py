"""Captions of real images: three forms of files say the same, and each mistake is one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthkit.errors import SourceError
from synthkit.recipe.captions import Captions
from synthkit.sources import captions as module
from synthkit.sources.captions import read_captions, usable_captions

ROWS = {"cat/1.jpg": 'a cat, "on" a mat', "cat/2 é.jpg": "eine Katze — süß 😀", "dog/1.jpg": "a dog"}


def written(folder: Path, suffix: str, rows: list[tuple[Any, Any]]) -> Captions:
    path = folder / f"captions{suffix}"
    if suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8-sig") as stream:
            csv.writer(stream).writerows([("note", "caption", "id"), *(("n", b, a) for a, b in rows)])
    elif suffix == ".jsonl":
        lines = [json.dumps({"caption": caption, "id": name, "note": 1}) for name, caption in rows]
        path.write_text("\n".join([*lines, "", ""]))
    else:
        ids, captions = zip(*rows, strict=True)
        pq.write_table(pa.table({"id": ids, "note": [1] * len(ids), "caption": captions}), path)
    return Captions(file=str(path))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_file_gives_the_captions_of_the_images_that_are_asked_for(tmp_path: Path, suffix: str) -> None:
    config = written(tmp_path, suffix, list(ROWS.items()))
    assert read_captions(config, list(ROWS)) == usable_captions(config) == ROWS
    assert read_captions(config, ["dog/1.jpg"]) == {"dog/1.jpg": "a dog"}
    assert read_captions(config.hashed(), list(ROWS)) == ROWS


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_of_other_images_may_be_anything(tmp_path: Path, suffix: str) -> None:
    others = [("b", ""), ("b", "x" * 9999), ("c", "two\nlines")]
    config = written(tmp_path, suffix, [*ROWS.items(), *others])
    assert read_captions(config, list(ROWS)) == usable_captions(config) == ROWS


BAD = [
    (".csv", b"", "must begin with a line that names the columns id and caption, is []"),
    (".csv", b"a,b\n1,2\n", "must begin with a line that names the columns id and caption, is ['a', 'b']"),
    (".csv", b"id,caption\na,\xff\n", "is not UTF-8 text"),
    (".csv", b"id,caption\na,b\na,c\n", "line 3: 'a' has a caption already; keep one of them"),
    (".csv", b"id,caption\na,b,c\n", "line 2: has 3 values for 2 columns"),
    (".csv", b'id,caption\na,"b\n', "line 2: is not CSV: "),
    (".csv", b"id,caption\na," + b"x" * 200_000, "line 2: is not CSV: field larger than field limit"),
    (".csv", b"id,caption\na,\n", "line 2: the caption of 'a' is empty"),
    (".csv", b"id,caption\na,  \n", "line 2: the caption of 'a' is empty"),
    (".csv", b'id,caption\na,"b\nc"\n', "the caption of 'a' cannot be in a prompt: U+000A is a control"),
    (".csv", b"id,caption\na,\x1b[31m\n", "the caption of 'a' cannot be in a prompt: U+001B is a control"),
    (".csv", b"id,caption\na," + b"x" * 2001, "the caption of 'a' has 2,001 characters, 2,000 at most"),
    (".csv", b"id,caption\nb,c\n", "has no caption of 1 of 1 real images, the first of them 'a'; the ids in"),
    (".jsonl", b'{"id": "a"}\n', "line 1: must be an object with id and caption"),
    (".jsonl", b'\n["a", "b"]\n', "line 2: must be an object with id and caption"),
    (".jsonl", b"{\n", "line 1: is not JSON: "),
    (".jsonl", b"[" * 100_000, "line 1: is not JSON: "),
    (".jsonl", b'{"id": "a", "caption": "\xff"}', "line 1: is not UTF-8 text"),
    (".jsonl", b'{"id": 3, "caption": "b"}', "line 1: the id is 3, and must be text"),
    (".jsonl", b'{"id": "a", "caption": 3}', "line 1: the caption of 'a' is 3"),
    (".jsonl", b'{"id": "a", "caption": "\\ud800"}', "U+D800 is not in UTF-8"),
    (".jsonl", b"", "has no caption of 1 of 1 real images, the first of them 'a'"),
    (".parquet", b"PAR1", "is not Parquet: "),
    (".txt", b"", "must end in .csv, .jsonl, .parquet"),
]


@pytest.mark.parametrize(("suffix", "content", "message"), BAD)
def test_a_bad_file_is_one_line(tmp_path: Path, suffix: str, content: bytes, message: str) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(SourceError) as raised:
        read_captions(Captions(file=str(path)), ["a"])
    assert str(raised.value).startswith(f"captions.file: {path}: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


def test_other_bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = written(tmp_path, ".csv", list(ROWS.items()))
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), tmp_path / "columns.parquet")
    cases = {
        "another content": config.model_copy(update={"sha256": "a" * 64}),
        "no columns id and caption, but id, text": Captions(file=str(tmp_path / "columns.parquet")),
        "No such file": Captions(file=str(tmp_path / "none.csv")),
    }
    (tmp_path / "folder.csv").mkdir()
    cases["Is a directory"] = Captions(file=str(tmp_path / "folder.csv"))
    for message, bad in cases.items():
        with pytest.raises(SourceError, match=message):
            read_captions(bad, ["a"])
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    with pytest.raises(SourceError, match="has more than 10 bytes"):
        read_captions(config, list(ROWS))

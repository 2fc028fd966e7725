"""An image file gets another mark as if it had been written with that one."""

from __future__ import annotations

import pytest

from synthkit.release.image_remark import with_mark
from tests.helpers.hostile import MARK, good


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
@pytest.mark.parametrize("mark", [MARK.replace(b"small", b"another"), MARK + b" ", MARK[:-2], MARK])
def test_the_file_is_what_the_writer_makes_with_the_other_mark(extension: str, mark: bytes) -> None:
    before = good(extension)
    assert with_mark(before, extension, mark) == good(extension, mark=mark)
    assert with_mark(with_mark(before, extension, mark), extension, MARK) == before

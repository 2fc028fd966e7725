"""Progress where no terminal is: plain lines on standard error."""

from __future__ import annotations

import pytest

from synthkit.system.progress import progress


def test_the_end_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("generating", 4) as advance:
        advance(4)
        # Late news of a worker that has nothing new.
        advance(0)
        advance.known(0)
    assert capsys.readouterr().err.count("generating: 4 of 4 images") == 1


def test_an_end_after_something_was_lost_is_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("generating", 4) as advance:
        for count in (4, -2, 2):
            advance(count)
    assert capsys.readouterr().err.count("generating: 4 of 4 images") == 2

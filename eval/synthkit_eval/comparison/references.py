"""What a row is compared with: real images alone, and random-image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit_eval.comparison.rows import BASELINE, share_of_real

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from synthkit_eval.comparison.rows import Row
    from synthkit_eval.score import ReleaseFacts


def real_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """Return the real-only row of as many steps that has the most runs, if there is one.

    More steps alone make a score better, so that only equal ones show what the synthetic images add.
    """
    same = [other for other in rows if other.score.release is None and other.score.steps == row.score.steps]
    if row.score.release is None or not same:
        return None
    return max(same, key=lambda other: other.seeds)


def random_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """Return the random-image row that is most alike, if there is one."""
    release = row.score.release
    if release is None or release.method == BASELINE:
        return None
    releases = (other for other in rows if other.score.release is not None)
    return nearest(row, (other for other in releases if release_of(other).method == BASELINE))


def nearest(row: Row, others: Iterable[Row]) -> Row | None:
    """Return the row that is most alike, if there is one.

    The same model counts first, then how near guidance, the share of real images, steps and the number of
    images are.
    """
    mine = release_of(row)

    def distance(other: Row) -> tuple[bool, float, float, int, int]:
        release = release_of(other)
        return (
            release.generator != mine.generator,
            abs(release.guidance_scale - mine.guidance_scale),
            abs(share_of_real(other.score) - share_of_real(row.score)),
            abs(other.score.steps - row.score.steps),
            abs(release.images - mine.images),
        )

    return min(others, key=distance, default=None)


def release_of(row: Row) -> ReleaseFacts:
    """Return the facts of a row's release; it is not one of real images alone."""
    assert row.score.release is not None  # noqa: S101
    return row.score.release

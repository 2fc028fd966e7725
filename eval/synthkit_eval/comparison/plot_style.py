"""The look of plots: colours that colour-blind readers can tell apart, sizes for the width of a README."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from synthkit_eval.score import Accuracy, Score

# Inches: a README shows about 850 of these 1440 pixels, so that 10 points become 12 pixels.
WIDTH = 9.0
INK, GREY = "#181c24", "#8a929e"
# Of bars and points: real images alone, random-image, all others; a number in INK is legible on each.
REAL, BASELINE, OTHER = "#a8afba", "#e69f00", "#56b4e9"
_LETTERS = 34
_HEADING = 40

_RC = {
    "figure.dpi": 160,
    "savefig.dpi": 160,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#c3c8d0",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e6e8ec",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    # A dollar sign in a name is no formula.
    "text.parse_math": False,
    # The ids in an SVG are random otherwise.
    "svg.hashsalt": "synthkit",
}


class Look(NamedTuple):
    """The colour and the marker of a line in a plot."""

    colour: str
    marker: str


REAL_LOOK = Look("#6b7280", "X")
# Paul Tol's "muted" scheme, neighbours far apart, and three colours for as many lines as there are methods;
# black and grey are for what is printed, and real images.
_COLOURS = [
    *("#332288", "#cc6677", "#117733", "#88ccee", "#aa4499", "#999933", "#44aa99", "#882255", "#ddcc77"),
    *("#8c510a", "#2166ac", "#e08214"),
]
_MARKERS = ("o", "s", "^", "D", "v", "P")


def look(place: int) -> Look:
    """Return the look of the line with this number; colours repeat later with other markers."""
    count = len(_COLOURS)
    return Look(_COLOURS[place % count], _MARKERS[(place + place // count) % len(_MARKERS)])


@contextmanager
def styled() -> Iterator[None]:
    """Draw with these settings meanwhile, whatever the user's own matplotlibrc says."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, which no window shows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def drawable(name: str, letters: int = _LETTERS) -> str:
    """Return a name as the font can draw it: letters but Latin and Greek as `?`, a long one shortened."""
    text = "".join(
        c if c.isprintable() and (ord(c) < 0x250 or 0x370 <= ord(c) < 0x400) else "?" for c in name
    )
    tail = letters // 2
    return text if len(text) <= letters else f"{text[: letters - 1 - tail]}…{text[-tail:]}"


def heading(score: Score) -> str:
    """Return the protocol's name and the number of real images, as they begin a title."""
    return f"{drawable(score.protocol.name, _HEADING)}, {score.data.training_images:,} real images"


def percent(accuracy: Accuracy) -> tuple[float, float, float]:
    """Return the mean and both ends of its 95 % interval, in percent, cut at 0 and 100."""
    return within(100 * accuracy.mean, 100 * (accuracy.ci95 or 0))


def within(mean: float, spread: float) -> tuple[float, float, float]:
    """Return a mean in percent and both ends of its interval, cut at 0 and 100."""
    return mean, max(mean - spread, 0.0), min(mean + spread, 100.0)

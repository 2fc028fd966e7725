"""Pictures of glyphs, drawn anew for every use: shape, pen, colours, background and sharpness vary.

Each picture is drawn at twice its side: the mask is deformed, painted over a ground, and reduced. Everything
varies on its own, so that a white, blurred digit on black is one look among very many.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from pretraining.tiny_unclip_glyphs.glyphs import INK, SIDE

if TYPE_CHECKING:
    from pretraining.tiny_unclip_glyphs.glyphs import Glyphs

PICTURE = SIDE // 2
MAX_TURN = math.radians(14)
MAX_SLANT = 0.35
SIZES = (0.6, 1.05)  # of the longer side of a glyph, as a share of the picture's side
MAX_STRETCH = 0.25  # of the logarithm of width over height
MAX_BEND = 0.09  # of the displacement of a coarse grid of points, in half sides
BENT_SHARE = 0.6
BEND_POINTS = 5
THICKER_SHARE, THINNER_SHARE, HOLLOW_SHARE = 0.25, 0.2, 0.06
COLOURED_SHARE = 0.7  # of the pictures that are not plain; the others are grey
PLAIN_SHARE = 0.2  # black on white or white on black
MIN_CONTRAST = 0.35  # between the mean of the glyph's colour and the ground's
# How often a colour is flat, a gradient, or clouds.
GROUND_SHARES = (0.65, 0.25, 0.1)
INK_SHARES = (0.8, 0.2, 0.0)
COARSE_SHARE, COARSE_SIDES = 0.35, (7, 16)  # pictures that are reduced to so few pixels and enlarged again
BLURRED_SHARE = 0.15
NOISY_SHARE, MAX_NOISE = 0.1, 0.06


def draw(
    glyphs: Glyphs, rows: Tensor, generator: torch.Generator, plain_share: float = PLAIN_SHARE
) -> Tensor:
    """Return pictures (N, 3, 32, 32) in [0, 1] of the glyphs at `rows` (N,)."""
    mask = glyphs.masks[rows].unsqueeze(1).float() / 255
    mask = _hollow(_pen(_deform(mask, generator), generator), generator)
    return paint(mask, generator, plain_share)


def paint(mask: Tensor, generator: torch.Generator, plain_share: float = PLAIN_SHARE) -> Tensor:
    """Return pictures (N, 3, 32, 32) in [0, 1] of masks (N, 1, 64, 64): colours and sharpness vary."""
    ground, ink = _colours(len(mask), plain_share, generator)
    ground = _textured(ground, GROUND_SHARES, generator)
    ink = _textured(ink, INK_SHARES, generator)
    picture = F.avg_pool2d(torch.lerp(ground, ink, mask), 2)
    return _noisy(_blurred(_coarse(picture, generator), generator), generator).clamp(0, 1)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def _chosen(n: int, share: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(n, generator=generator) < share).view(n, 1, 1, 1)


def _deform(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Each glyph sized, stretched, slanted, turned, shifted and bent."""
    n = len(mask)
    size = _uniform((n,), *SIZES, generator)
    stretch = torch.exp(_uniform((n,), -MAX_STRETCH, MAX_STRETCH, generator) / 2)
    turn = _uniform((n,), -MAX_TURN, MAX_TURN, generator)
    slant = _uniform((n,), -MAX_SLANT / 3, MAX_SLANT, generator)
    zoom = INK / SIDE / size  # from the picture to the mask
    cos, sin = torch.cos(turn), torch.sin(turn)
    x_of_x, x_of_y = zoom / stretch * (cos + slant * sin), zoom / stretch * (-sin + slant * cos)
    y_of_x, y_of_y = zoom * stretch * sin, zoom * stretch * cos
    room = (1.1 - size).clamp(min=0.05)
    shift = _uniform((2, n), -1, 1, generator) * room * zoom
    theta = torch.stack([x_of_x, x_of_y, shift[0], y_of_x, y_of_y, shift[1]], dim=1).view(n, 2, 3)
    grid = F.affine_grid(theta, list(mask.shape), align_corners=False)
    bend = torch.randn((n, 2, BEND_POINTS, BEND_POINTS), generator=generator) * MAX_BEND / 2
    bend = bend * _chosen(n, BENT_SHARE, generator) * zoom.view(n, 1, 1, 1)
    bend = F.interpolate(bend, size=SIDE, mode="bicubic", align_corners=True)
    return F.grid_sample(mask, grid + bend.permute(0, 2, 3, 1), align_corners=False)


def _pen(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Strokes thicker or thinner by up to one pixel of the picture on each side."""
    n = len(mask)
    chance = torch.rand(n, generator=generator).view(n, 1, 1, 1)
    wide = (torch.rand(n, generator=generator) < 0.5).view(n, 1, 1, 1)
    thicker = torch.where(wide, F.max_pool2d(mask, 5, 1, 2), F.max_pool2d(mask, 3, 1, 1))
    thinner = -F.max_pool2d(-mask, 3, 1, 1)
    # A hairline would vanish: it keeps its width.
    thin_enough = thinner.sum((1, 2, 3), keepdim=True) > 0.3 * mask.sum((1, 2, 3), keepdim=True)
    mask = torch.where(chance < THICKER_SHARE, thicker, mask)
    return torch.where((chance > 1 - THINNER_SHARE) & thin_enough, thinner, mask)


def _hollow(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Leave some glyphs as their outline alone."""
    outline = F.max_pool2d(mask, 3, 1, 1) + F.max_pool2d(-mask, 3, 1, 1)
    return torch.where(_chosen(len(mask), HOLLOW_SHARE, generator), outline.clamp(0, 1), mask)


def _colours(n: int, plain_share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two colours (N, 3, 1, 1) of sufficient contrast: random ones, greys, or black and white."""
    colours = torch.rand((2, n, 3), generator=generator)
    grey = colours.mean(dim=2, keepdim=True)
    grey = ((grey - 0.5) * 1.7 + 0.5).clamp(0, 1).expand(-1, -1, 3)
    chance = torch.rand((2, 1, n, 1), generator=generator)
    colours = torch.where(chance[0] < COLOURED_SHARE, colours, grey)
    difference = colours[1].mean(1, keepdim=True) - colours[0].mean(1, keepdim=True)
    direction = torch.where(difference >= 0, 1.0, -1.0)
    push = (MIN_CONTRAST - difference.abs()).clamp(min=0) / 2 * direction
    colours = torch.stack([colours[0] - push, colours[1] + push]).clamp(0, 1)
    plain = torch.stack([(direction < 0).float(), (direction > 0).float()]).expand(-1, -1, 3)
    colours = torch.where(chance[1] < plain_share, plain, colours)
    return colours[0].view(n, 3, 1, 1), colours[1].view(n, 3, 1, 1)


def _textured(colour: Tensor, shares: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """Return (N, 3, 64, 64): the colour flat, as a gradient, or as clouds."""
    n = len(colour)
    kinds = torch.multinomial(torch.tensor(shares), n, replacement=True, generator=generator)
    angle = _uniform((n, 1, 1, 1), 0, 2 * math.pi, generator)
    line = torch.linspace(-1, 1, SIDE)
    along = line.view(1, 1, 1, SIDE) * torch.cos(angle) + line.view(1, 1, SIDE, 1) * torch.sin(angle)
    clouds = F.interpolate(torch.randn((n, 1, 5, 5), generator=generator), size=SIDE, mode="bicubic")
    wave = torch.stack([torch.zeros_like(along), along, clouds * 0.6])
    strength = _uniform((n, 3, 1, 1), -0.3, 0.3, generator)
    return colour + strength * wave[kinds, torch.arange(n)]


def _coarse(picture: Tensor, generator: torch.Generator) -> Tensor:
    """Return some pictures reduced to few pixels and enlarged again."""
    n = len(picture)
    sides = torch.randint(COARSE_SIDES[0], COARSE_SIDES[1] + 1, (n,), generator=generator)
    coarse = picture.clone()
    for side in range(COARSE_SIDES[0], COARSE_SIDES[1] + 1):
        rows = torch.nonzero(sides == side).flatten()
        few = F.interpolate(picture[rows], size=side, mode="bilinear", antialias=True, align_corners=False)
        coarse[rows] = F.interpolate(few, size=PICTURE, mode="bicubic", align_corners=False)
    return torch.where(_chosen(n, COARSE_SHARE, generator), coarse, picture)


def _blurred(picture: Tensor, generator: torch.Generator) -> Tensor:
    """Return some pictures blurred by the binomial filter, once or thrice."""
    n = len(picture)
    once = _binomial(picture)
    thrice = _binomial(_binomial(once))
    often = (torch.rand(n, generator=generator) < 0.5).view(n, 1, 1, 1)
    return torch.where(_chosen(n, BLURRED_SHARE, generator), torch.where(often, thrice, once), picture)


def _binomial(picture: Tensor) -> Tensor:
    weights = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = torch.outer(weights, weights).expand(3, 1, 3, 3)
    return F.conv2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)


def _noisy(picture: Tensor, generator: torch.Generator) -> Tensor:
    n = len(picture)
    strength = _uniform((n, 1, 1, 1), 0, MAX_NOISE, generator) * _chosen(n, NOISY_SHARE, generator)
    return picture + strength * torch.randn(picture.shape, generator=generator)

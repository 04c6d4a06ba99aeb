"""Pictures of a part that looks the same in no other place, and how the definition moves points of it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter


def part(side=96, *, angle=0.0, shift=(0.0, 0.0), scale=1.0, seed=0, noise=1.0):
    """Draw a photo (side, side, 3), uint8, of a bracket turned clockwise, shifted down and across."""
    ticks = np.arange(side * 4) / 4 + 0.125 - side / 2
    x, y = np.meshgrid(ticks - shift[1], ticks - shift[0])
    turn = np.radians(angle)
    x, y = (
        (x * np.cos(turn) + y * np.sin(turn)) / scale / side,
        (y * np.cos(turn) - x * np.sin(turn)) / scale / side,
    )
    bar = (np.abs(x) < 0.3) & (np.abs(y + 0.1) < 0.08)
    leg = (np.abs(x + 0.2) < 0.07) & (np.abs(y - 0.08) < 0.14)
    hole = np.hypot(x - 0.2, y + 0.1) < 0.04
    fine = 0.2 + 0.5 * (bar | leg) - 0.3 * hole
    grey = fine.reshape(side, 4, side, 4).mean((1, 3))
    light = np.random.default_rng(seed).normal(0, noise, (side, side, 3))
    return np.clip(np.round(255 * grey[..., None] + light), 0, 255).astype(np.uint8)


def parts(n, side=96, *, max_angle=0.0, max_shift=0.0, seed=0, noise=1.0):
    """Draw photos (n, side, side, 3), and the angles and shifts (n, 3) by which parts move."""
    moves = np.random.default_rng(seed).uniform(-1, 1, (n, 3)) * [max_angle, max_shift, max_shift]
    drawn = [part(side, angle=a, shift=(d, x), seed=i, noise=noise) for i, (a, d, x) in enumerate(moves)]
    return np.stack(drawn), moves


def textures(n, side=96, seed=0):
    """Draw surfaces (n, side, side) that show no part, uint8."""
    noise = np.random.default_rng(seed).normal(size=(n, side, side))
    smooth = gaussian_filter(noise, (0, 3, 3))
    return np.clip(128 + 400 * smooth, 0, 255).astype(np.uint8)

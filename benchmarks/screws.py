"""Draws screws that lie at any angle, good and defective: what no fixture holds."""

from __future__ import annotations

import math

import numpy as np

# Lengths are shares of the photo's side. The screw lies along x, its head to the left.
LENGTH, SHAFT, HEAD, HEAD_LENGTH, TIP = 0.62, 0.045, 0.095, 0.09, 0.1
THREAD_FROM, PITCH, DEPTH = 0.17, 0.035, 0.008
DEFECTS = ("thread", "scratch", "tip")


def draw(rng: np.random.Generator, side: int, defect: str | None, max_shift: float) -> np.ndarray:
    """Return a photo (side, side, 3), uint8, of a screw at a random angle, shifted by up to some pixels."""
    angle = rng.uniform(-math.pi, math.pi)
    across, down = rng.uniform(-max_shift, max_shift, 2) / side
    ticks = (np.arange(side) + 0.5) / side - 0.5
    x, y = np.meshgrid(ticks - across, ticks - down)
    x, y = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    along = x + LENGTH / 2
    radius, thread = outline(along, rng, defect)
    metal = np.clip(0.5 - (np.abs(y) - radius) * side, 0, 1) * np.clip(0.5 + along * side, 0, 1)
    # Round, so bright along its middle; and the light stays above, whichever way the screw lies.
    light = 0.35 + 0.35 * np.sqrt(np.clip(1 - (y / np.maximum(radius, 1e-3)) ** 2, 0, 1))
    light += 0.12 * thread - 0.12 * math.cos(angle) * np.clip(y / SHAFT, -1, 1)
    if defect == "scratch":
        at, slope, width = rng.uniform(0.15, 0.45), rng.uniform(-0.6, 0.6), rng.uniform(0.004, 0.007)
        light += 0.35 * (np.abs(along - at - slope * y) < width)
    background = 0.82 + 0.05 * (rng.uniform(-1, 1) * x + rng.uniform(-1, 1) * y)
    grey = (light * metal + background * (1 - metal)) * rng.uniform(0.95, 1.05)
    photo = grey[..., None] + rng.normal(0, 0.008, (side, side, 3))
    return (np.clip(photo, 0, 1) * 255 + 0.5).astype(np.uint8)


def outline(along: np.ndarray, rng: np.random.Generator, defect: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return half the width of the screw at places along it, and its thread there, from -1 to 1."""
    thread = np.cos(2 * math.pi * along / PITCH) * (along > THREAD_FROM)
    if defect == "thread":
        first = rng.uniform(0.2, LENGTH - TIP - 0.12)
        thread = thread * ((along < first) | (along > first + rng.uniform(0.05, 0.08)))
    length = LENGTH - (rng.uniform(0.03, 0.06) if defect == "tip" else 0.0)
    radius = SHAFT + DEPTH * thread
    radius = np.where(along > LENGTH - TIP, SHAFT * (LENGTH - along) / TIP, radius)
    radius = np.where(along < HEAD_LENGTH, HEAD, radius)
    return np.where(along > length, -1.0, radius), thread


def make(
    n_train: int, n_good: int, n_defective: int, side: int, max_shift: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return good photos, photos to test, and which of these are defective."""
    rng = np.random.default_rng(seed)
    kinds = [None] * n_good + [DEFECTS[i % len(DEFECTS)] for i in range(n_defective)]
    train = np.stack([draw(rng, side, None, max_shift) for _ in range(n_train)])
    test = np.stack([draw(rng, side, kind, max_shift) for kind in kinds])
    return train, test, np.array([kind is not None for kind in kinds])

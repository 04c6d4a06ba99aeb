"""Draws the flange: photos of a machined part, good and defective, in memory or in MVTec AD's layout."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

DESCRIPTION = """\
Drawn photos of a machined part
-------------------------------
A flange of turned grey metal on a dark fixture: a hub, a bore and six bolt holes. Part and camera
are aligned up to a small jitter; position, light, surface texture and sensor noise differ from
photo to photo. A defective photo shows one defect: a bolt hole that was not drilled, a scratch, a
stain, or a burr on the rim or in the bore.

Photos: {n_train} good to train on; {n_good} good and {n_defective} defective to test on
Size: {image_size} x {image_size} pixels, RGB, 8 bits
Made by skpadim.datasets.make_inspection_images; nothing here was photographed.
"""

# The flange: lengths are fractions of the photo's side, as are all lengths below.
_RIM, _HUB, _BORE = 0.41, 0.21, 0.13
_N_HOLES, _BOLT_CIRCLE, _HOLE = 6, 0.31, 0.036
_CHAMFER = 0.012
# The scene: where the light comes from (x, y; y points down), and the colours of metal and fixture.
_LIGHT = (-0.6, -0.8)
_METAL = np.array([0.54, 0.555, 0.57], dtype=np.float32)[:, None, None]
_FIXTURE = np.array([0.105, 0.11, 0.125], dtype=np.float32)[:, None, None]
_OIL = np.array([0.8, 1.0, 1.3], dtype=np.float32)[:, None, None]

# PNGs drawn here say so, and only those are ever overwritten.
_AUTHOR = ("Software", "skpadim.datasets.make_inspection_images")


@dataclass(frozen=True)
class Looseness:
    """How far parts are moved at most, beside the jitter of all photos; uniformly up to there.

    Attributes
    ----------
    angle : float
        Degrees, to either side.
    shift : float
        Pixels, in each direction.
    scale : float
        Share by which a part comes out larger or smaller.
    """

    angle: float = 0.0
    shift: float = 0.0
    scale: float = 0.0


@dataclass(frozen=True)
class Shot:
    """A photo to take, and its place in MVTec AD's layout."""

    split: str
    kind: str
    number: int

    @property
    def photo_path(self) -> Path:
        """Where the photo lies in the folder."""
        return Path(self.split, self.kind, f"{self.number:03d}.png")

    @property
    def mask_path(self) -> Path | None:
        """Where the mask lies; None for a good part."""
        if self.kind == "good":
            return None
        return Path("ground_truth", self.kind, f"{self.number:03d}_mask.png")

    def take(self, seed: int, side: int, loose: Looseness = Looseness()) -> tuple[NDArray[np.uint8], Mask]:
        """Draw the photo (side, side, 3) and the mask of its defect (side, side)."""
        stream = [("train", "test").index(self.split), list(KINDS).index(self.kind), self.number]
        # Moves have a stream of their own: what else a photo shows does not depend on them.
        rng, defect_rng, move_rng = np.random.default_rng([seed, *stream]).spawn(3)
        frame = _Frame.draw(rng, side, move_rng.uniform(-1, 1, 4), loose)
        part = KINDS[self.kind](frame, defect_rng)
        return _photograph(frame, part, rng), part.mask


def in_memory(shots: list[Shot], seed: int, side: int, loose: Looseness) -> tuple[NDArray[Any], NDArray[Any]]:
    """Take the photos: return them and their masks."""
    photos = np.empty((len(shots), side, side, 3), dtype=np.uint8)
    masks = np.empty((len(shots), side, side), dtype=bool)
    for i, shot in enumerate(shots):
        photos[i], masks[i] = shot.take(seed, side, loose)
    return photos, masks


def on_disk(
    shots: list[Shot], seed: int, side: int, loose: Looseness, root: Path
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Take the photos and write them, one at a time: return their paths and those of their masks."""
    mask_paths = np.full(len(shots), None, dtype=object)
    for i, shot in enumerate(shots):
        photo, mask = shot.take(seed, side, loose)
        _save(photo, root / shot.photo_path)
        if shot.mask_path is not None:
            _save(mask.astype(np.uint8) * 255, root / shot.mask_path)
            mask_paths[i] = str(root / shot.mask_path)
    return np.array([str(root / shot.photo_path) for shot in shots], dtype=str), mask_paths


def _save(image: NDArray[np.uint8], path: Path) -> None:
    author = PngImagePlugin.PngInfo()
    author.add_text(*_AUTHOR)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Noise hardly compresses: level 1 is as small as level 6, and several times faster.
    Image.fromarray(image).save(path, pnginfo=author, compress_level=1)


def refuse_conflicts(root: Path, shots: list[Shot]) -> None:
    """Raise where writing would mix the photos with others, or destroy files not drawn here."""
    if root.exists() and not root.is_dir():
        raise ValueError(f"folder={str(root)!r} is a file; name a folder, or one to be made.")
    planned = {root / path for shot in shots for path in (shot.photo_path, shot.mask_path) if path}
    conflicts = [
        path
        for part in ("train", "test", "ground_truth")
        for path in sorted((root / part).rglob("[!.]*"))
        if path.is_file() and not (path in planned and _drawn_here(path))
    ]
    if conflicts:
        raise ValueError(
            f"folder={str(root)!r} holds {len(conflicts)} file(s) that are not to be mixed with "
            f"the new photos, the first {str(conflicts[0].relative_to(root))!r}: not drawn by this "
            "function, or left by a call that drew more. Name another folder, or remove its train, "
            "test and ground_truth."
        )


def _drawn_here(path: Path) -> bool:
    key, author = _AUTHOR
    try:
        with Image.open(path) as image:
            return image.info.get(key) == author
    except OSError:  # Pillow's for what is not an image, too
        return False


@dataclass(frozen=True)
class _Frame:
    """The coordinates of a photo's pixels as seen from the part, whose centre is the origin."""

    side: int
    x: Floats
    y: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, side: int, moves: Floats, loose: Looseness) -> _Frame:
        """Place the part: about a pixel off in each direction, a fraction of a degree turned, and loose.

        ``moves`` are four numbers in [-1, 1]: of the furthest angle, shift across and down, and scale.
        """
        x_shift, y_shift = np.clip(rng.normal(0, 0.0035, 2), -0.009, 0.009) + moves[1:3] * loose.shift / side
        ticks = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
        angle = rng.uniform(-0.005, 0.005) + math.radians(moves[0] * loose.angle)
        x, y = _turn(ticks - np.float32(x_shift), ticks[:, None] - np.float32(y_shift), angle)
        scale = np.float32(1 + moves[3] * loose.scale)
        return cls(side, x / scale, y / scale)

    @cached_property
    def radius(self) -> Floats:
        return np.hypot(self.x, self.y) + np.float32(1e-6)

    @cached_property
    def angle(self) -> Floats:
        return np.arctan2(self.y, self.x)

    @cached_property
    def facing_light(self) -> Floats:
        """How a slope that faces outwards is turned to the light: from -1 to 1."""
        return (self.x * _LIGHT[0] + self.y * _LIGHT[1]) / self.radius

    @cached_property
    def hole(self) -> NDArray[np.intp]:
        """Number of the nearest bolt hole."""
        return np.rint(self.angle * (_N_HOLES / (2 * np.pi))).astype(np.intp) % _N_HOLES

    @cached_property
    def to_hole(self) -> tuple[Floats, Floats, Floats]:
        """From the centre of the nearest bolt hole: x, y and distance."""
        angles = np.arange(_N_HOLES) * (2 * np.pi / _N_HOLES)
        x = self.x - (_BOLT_CIRCLE * np.cos(angles)).astype(np.float32)[self.hole]
        y = self.y - (_BOLT_CIRCLE * np.sin(angles)).astype(np.float32)[self.hole]
        return x, y, np.hypot(x, y) + np.float32(1e-6)

    @cached_property
    def on_face(self) -> Mask:
        """Where the face of a flawless part is, edges left out."""
        drilled = self.to_hole[2] < _HOLE + _CHAMFER
        return (self.radius < _RIM - _CHAMFER) & (self.radius > _BORE + _CHAMFER) & ~drilled

    def coverage(self, distance: Floats) -> Floats:
        """Share of each pixel that lies inside an edge, given the signed distance outside it."""
        return np.clip(0.5 - distance * self.side, 0, 1)


@dataclass(frozen=True)
class _Part:
    """What sets a part apart from a flawless one, and where (the mask).

    ``rim_growth`` and ``bore_growth`` are metal in excess, by the angle of each pixel;
    ``reflectance`` is a factor on the metal's colour.
    """

    mask: Mask
    hole_radii: tuple[float, ...] = (_HOLE,) * _N_HOLES
    rim_growth: Floats | float = 0.0
    bore_growth: Floats | float = 0.0
    reflectance: Floats | float = 1.0


def _good(frame: _Frame, rng: np.random.Generator) -> _Part:
    return _Part(np.zeros((frame.side, frame.side), dtype=bool))


def _missing_hole(frame: _Frame, rng: np.random.Generator) -> _Part:
    """Leave out a hole, or no more than mark its centre."""
    missing = rng.integers(_N_HOLES)
    radii = [_HOLE] * _N_HOLES
    radii[missing] = rng.choice([-_CHAMFER, 0.25 * _HOLE])
    mask = (frame.hole == missing) & (frame.to_hole[2] < _HOLE + _CHAMFER)
    return _Part(mask, hole_radii=tuple(radii))


def _scratch(frame: _Frame, rng: np.random.Generator) -> _Part:
    """Draw a slightly bent line that thins towards its ends, mostly bright, sometimes dark."""
    x, y, angle = _spot(frame, rng)
    along, across = _turn(x, y, angle + rng.uniform(0.1, 0.45) * math.pi * rng.choice([-1.0, 1.0]))
    half_length, width = rng.uniform(0.06, 0.12), rng.uniform(0.006, 0.01)
    thinning = np.sqrt(np.clip(1 - (along / half_length) ** 2, 0, 1))
    distance = np.abs(across - rng.uniform(-2, 2) * along**2) - width / 2 * thinning
    stroke = frame.coverage(distance) * thinning * frame.on_face
    contrast = rng.uniform(0.45, 0.7) if rng.random() < 0.7 else -rng.uniform(0.45, 0.6)
    return _Part(stroke > 0.12, reflectance=1 + contrast * stroke)


def _stain(frame: _Frame, rng: np.random.Generator) -> _Part:
    """Spill a drop of oil: a brownish blob with a darker edge, where it dried."""
    x, y, _ = _spot(frame, rng)
    reach, angle = np.hypot(x, y), np.arctan2(y, x)
    size = rng.uniform(0.03, 0.06)
    outline = np.full_like(reach, size)
    for wave in range(2, 6):
        swing = rng.uniform(0, 0.5 / wave)
        outline += size * swing * np.sin(wave * angle + rng.uniform(0, 2 * math.pi))
    depth = (outline - reach) / 0.012
    film = np.clip(0.5 + depth, 0, 1) * (0.75 + 0.25 * np.exp(-np.abs(depth - 0.5))) * frame.on_face
    return _Part(film > 0.2, reflectance=1 - rng.uniform(0.28, 0.45) * _OIL * film)


def _burr(frame: _Frame, rng: np.random.Generator) -> _Part:
    """Leave a jagged piece of metal standing at the rim or in the bore."""
    at_rim = rng.random() < 0.6
    edge = _RIM if at_rim else _BORE
    height, half_length = rng.uniform(0.012, 0.026), rng.uniform(0.025, 0.06)
    turned = (frame.angle - rng.uniform(-np.pi, np.pi) + np.pi) % (2 * np.pi) - np.pi
    teeth = rng.uniform(0.5, 1.0, 11) * np.sin(np.linspace(0, math.pi, 11))
    profile = np.interp(turned * edge / half_length, np.linspace(-1, 1, len(teeth)), teeth)
    growth = (height * profile).astype(np.float32)
    outside = frame.radius - edge if at_rim else edge - frame.radius
    mask = (growth > 0.05 * height) & (outside > -_CHAMFER) & (outside < growth + 0.5 / frame.side)
    reflectance = 1 + rng.uniform(0, 0.3) * mask.astype(np.float32)
    if at_rim:
        return _Part(mask, rim_growth=growth, reflectance=reflectance)
    return _Part(mask, bore_growth=growth, reflectance=reflectance)


#: How a part of each kind comes about. The order decides the random streams: append only.
KINDS: dict[str, Callable[[_Frame, np.random.Generator], _Part]] = {
    "good": _good,
    "missing_hole": _missing_hole,
    "scratch": _scratch,
    "stain": _stain,
    "burr": _burr,
}


def _spot(frame: _Frame, rng: np.random.Generator) -> tuple[Floats, Floats, float]:
    """Choose a spot on the face, between two bolt holes: coordinates from there, and its angle."""
    angle = (int(rng.integers(_N_HOLES)) + rng.uniform(0.3, 0.7)) * (2 * math.pi / _N_HOLES)
    radius = rng.uniform(_HUB + 0.03, _RIM - 0.04)
    return frame.x - radius * math.cos(angle), frame.y - radius * math.sin(angle), angle


def _turn(x: Floats, y: Floats, angle: float) -> tuple[Floats, Floats]:
    """Return coordinates along and across a direction."""
    cos, sin = math.cos(angle), math.sin(angle)
    return x * cos + y * sin, y * cos - x * sin


def _photograph(frame: _Frame, part: _Part, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw the scene, light it and add the sensor's noise: (side, side, 3)."""
    distance, slope = _outline(frame, part)
    coverage = frame.coverage(distance)
    facing = frame.facing_light
    hub_edge = np.clip(1 - np.abs(frame.radius - _HUB) / _CHAMFER, 0, 1)
    metal = (1 + 0.35 * slope + 0.3 * hub_edge * facing) * _brushed(frame, rng)
    shadow = 0.3 * (1 - facing) * np.exp(-np.abs(frame.radius - _RIM) / 0.03)
    fixture = np.where(frame.radius < _RIM, 0.4, 1 - shadow)

    gradient = _turn(frame.x, frame.y, rng.uniform(-math.pi, math.pi))[0] * rng.uniform(0, 0.12)
    light = gradient + rng.uniform(0.94, 1.06)
    scene = _METAL * (metal * coverage * light * part.reflectance)
    scene += _FIXTURE * (fixture * (1 - coverage) * light)
    scene += rng.standard_normal(scene.shape, dtype=np.float32) * rng.uniform(0.006, 0.01)
    levels = (np.clip(scene, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def _outline(frame: _Frame, part: _Part) -> tuple[Floats, Floats]:
    """Return the signed distance outside the metal, and how its chamfered edges face the light."""
    to_x, to_y, to_distance = frame.to_hole
    outside_rim = frame.radius - (_RIM + part.rim_growth)
    in_bore = (_BORE - part.bore_growth) - frame.radius
    in_hole = np.array(part.hole_radii, dtype=np.float32)[frame.hole] - to_distance

    facing_hole = -(to_x * _LIGHT[0] + to_y * _LIGHT[1]) / to_distance
    distance = np.maximum(np.maximum(outside_rim, in_bore), in_hole)
    facing = np.where(outside_rim > in_bore, frame.facing_light, -frame.facing_light)
    facing = np.where(in_hole == distance, facing_hole, facing)
    return distance, facing * np.clip(1 + distance / _CHAMFER, 0, 1)


def _brushed(frame: _Frame, rng: np.random.Generator) -> Floats:
    """Return the brightness of a turned surface: grooves that catch the light on two sides."""
    n_rings, n_angles, arc = frame.side // 2, 2 * frame.side, frame.side // 8
    grooves = rng.standard_normal((n_rings, n_angles), dtype=np.float32)
    grooves = np.cumsum(np.hstack([grooves[:, -arc:], grooves]), axis=1)
    arcs = (grooves[:, arc:] - grooves[:, :-arc]) / np.sqrt(arc)
    rings = rng.standard_normal((n_rings, 1), dtype=np.float32)
    texture = 0.03 * arcs + 0.018 * rings

    ring = np.minimum((frame.radius * (2 * n_rings)).astype(np.intp), n_rings - 1)
    angle = ((frame.angle / (2 * np.pi) + 0.5) * n_angles).astype(np.intp) % n_angles
    along, across = _turn(frame.x, frame.y, 0.6 + rng.normal(0, 0.03))
    sheen = (along**2 - across**2) / frame.radius**2
    return 1 + 0.16 * sheen + np.take(texture, ring * n_angles + angle)

from __future__ import annotations

import cmath

import numpy as np
import pytest
import torch

from skpadim.alignment.edges import make_levels, small_grey
from skpadim.alignment.motion import Motion
from skpadim.alignment.search import Limits
from skpadim.alignment.template import centred, fits_of, learn_template
from tests.alignment.shapes import parts

ANY = Limits(angle=180, shift=0.25, scale=0.05)
SIDE = 128


def test_a_template_lies_where_parts_do_on_average():
    photos, moves = parts(12, SIDE, max_angle=10, max_shift=8, seed=3)
    pixels = torch.from_numpy(photos).permute(0, 3, 1, 2)
    template = learn_template(small_grey(pixels, make_levels(1.0)[-1].size), 1.0, ANY)
    truth = [Motion(cmath.rect(1, np.radians(a)), complex(x, d) / SIDE) for a, d, x in moves]
    # From the template to the part as it is drawn unmoved: the same from every photo.
    same = [t.inverse().after(p.motion) for t, p in zip(truth, template.placements, strict=True)]
    assert np.ptp([each.angle for each in same]) < 0.2
    shifts = np.array([each.shift for each in same]) * SIDE
    assert abs(shifts - shifts.mean()).max() < 0.1
    assert abs(np.mean([p.motion.angle for p in template.placements])) < 0.2
    assert fits_of(template.placements).min() > 0.9


def test_the_middle_of_motions_is_the_identity():
    rng = np.random.default_rng(0)
    turned = np.exp(1j * rng.uniform(0.2, 0.4, 20)) * rng.uniform(1.0, 1.1, 20)
    shifts = rng.normal(0.1, 0.05, 20) + 1j * rng.normal(-0.2, 0.05, 20)
    motions = centred(
        [Motion(complex(turn), complex(shift)) for turn, shift in zip(turned, shifts, strict=True)],
        np.ones(20, dtype=bool),
    )
    assert abs(np.mean([each.angle for each in motions])) < 1
    assert np.mean([np.log(each.scale) for each in motions]) == pytest.approx(0, abs=1e-9)
    nearest = abs(np.mean([each.turn.conjugate() * each.shift for each in motions]))
    assert nearest == pytest.approx(0, abs=1e-9)


def test_a_photo_that_does_not_count_moves_no_other():
    rng = np.random.default_rng(0)
    good = [Motion(cmath.rect(1, a), complex(x, y)) for a, x, y in rng.normal(0, 0.05, (9, 3))]
    astray = Motion(cmath.rect(1, 2.5), 0.2 - 0.1j)
    alone = centred(good, np.ones(9, dtype=bool))
    beside = centred([astray, *good], np.arange(10) > 0)
    assert beside[1:] == alone
    assert centred([astray, *good], np.ones(10, dtype=bool))[1:] != alone

"""Good photos that are not like the others."""

from __future__ import annotations

import numpy as np
import pytest

from skpadim import PartAligner
from skpadim.alignment.misfits import explain_disagreement, explain_misfits, least_fit
from tests.alignment.shapes import parts, textures


def name(index):
    return f"X[{index}]"


def told(fits):
    return explain_misfits(np.array(fits), range(len(fits)), name)


def test_a_part_is_found_that_fits_nearly_as_well_as_the_middle_or_the_worst_good_one():
    assert least_fit(np.array([1.0, 1.0, 0.98])) == pytest.approx(0.8)
    assert least_fit(np.array([1.0, 1.0, 0.8])) == pytest.approx(0.72)
    # One photo of something else is no part: it would let everything pass.
    assert least_fit(np.array([1.0, 1.0, 0.95, 0.1])) == pytest.approx(0.8 * 0.975)


def test_few_photos_far_from_all_others_are_named():
    assert told([0.98] * 20) is None
    text = told([0.98, 0.1, *[0.97] * 9, 0.73])
    assert text.startswith("2 of 12 good photos")
    assert "X[1] by 0.10, X[11] by 0.73; the middle one by 0.97" in text
    many = told([*[0.99] * 20, 0.4, 0.3, 0.2, 0.1])
    assert "X[23] by 0.10, X[22] by 0.20, X[21] by 0.30, the worst;" in many


def test_among_photos_that_are_much_alike_less_of_a_difference_is_enough():
    fits = [*np.linspace(0.98, 1.0, 30), 0.84]
    assert "X[30] by 0.84; the middle one by 0.99" in told(fits)
    assert told([*np.linspace(0.88, 1.0, 30), 0.84]) is None


def test_photos_that_vary_as_a_whole_have_no_misfits():
    # As those of surfaces do: evenly from 0.3 to 0.9.
    fits = np.linspace(0.3, 0.9, 40)
    assert told(fits) is None
    assert explain_disagreement(fits - 0.2).startswith("The middle good photo agrees by 0.40 only")
    assert explain_disagreement(fits) is None


@pytest.mark.parametrize(
    ("spoil", "max_angle"),
    [
        (lambda photo: photo[:, ::-1], 180),
        (lambda photo: photo[::-1, ::-1], 20),
        (lambda photo: np.repeat(textures(1)[0][..., None], 3, axis=2), 180),
    ],
    ids=["mirrored", "turned beyond max_angle", "nowhere"],
)
def test_parts_that_lie_as_no_others_do_are_warned_of(spoil, max_angle):
    photos = parts(24, max_angle=8, max_shift=5)[0]
    for index in (3, 17):
        photos[index] = spoil(photos[index]).copy()
    with pytest.warns(UserWarning, match=r"2 of 24 good photos agree far less.*X\[(3|17)\]") as warned:
        aligner = PartAligner(max_angle=max_angle).fit(photos)
    assert warned[0].filename == __file__
    assert aligner.least_fit_ > 0.45
    assert not aligner.locate(textures(3, seed=5)[1:])[0].found


def test_parts_that_turn_as_far_as_allowed_are_not_warned_of():
    photos = parts(24, max_angle=8, max_shift=5)[0]
    photos[[3, 17]] = photos[[3, 17], ::-1, ::-1]
    aligner = PartAligner().fit(photos)
    assert aligner.fits_.min() > 0.9

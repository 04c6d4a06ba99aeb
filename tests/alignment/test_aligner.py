from __future__ import annotations

import pickle

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone

from skpadim import PartAligner
from tests.alignment.shapes import part, parts, textures


@pytest.fixture(scope="module")
def moved():
    return parts(24, max_angle=15, max_shift=8)


@pytest.fixture(scope="module")
def aligner(moved):
    return PartAligner(image_size=96).fit(moved[0])


def test_aligned_photos_agree(aligner, moved):
    aligned = aligner.transform(moved[0])
    assert (aligned.dtype, aligned.shape) == (np.uint8, (24, 96, 96, 3))
    middle = slice(16, -16)
    spread = [stack[:, middle, middle].astype(float).std(0).mean() for stack in (moved[0], aligned)]
    assert spread[1] < 0.25 * spread[0]


def test_angles_and_shifts_are_told_in_degrees_and_pixels(aligner, moved):
    turned = part(angle=5 + moved[1][0, 0], shift=moved[1][0, 1:], seed=50)
    before, after = aligner.locate(np.stack([moved[0][0], turned]))
    assert (before.index, after.index) == (0, 1)
    assert after.angle - before.angle == pytest.approx(5, abs=0.2)
    down, across = np.subtract(*(one.shift for one in aligner.locate([part(160, shift=(7, -4)), part(160)])))
    assert (down, across) == (pytest.approx(7, abs=0.3), pytest.approx(-4, abs=0.3))
    assert after.found
    assert after.scale == pytest.approx(1, abs=0.01)


def test_shifts_are_in_pixels_of_a_photo_of_another_shape():
    wide = [np.tile(part(64, shift=(0, s), seed=s), (1, 2, 1))[:, 32:128] for s in (0, 1, 2, 3)]
    aligner = PartAligner("shift", max_shift=0.1).fit(wide)
    assert aligner.aspect_ == pytest.approx(96 / 64)
    places = np.array([each.shift for each in aligner.locate(wide)])
    assert_allclose(np.diff(places, axis=0), [[0, 1]] * 3, atol=0.25)
    assert (aligner.motions_[:, 0] == 1).all()


def test_a_photo_without_the_part_is_taken_as_it_lies(aligner):
    other = textures(1)[0]
    assert not aligner.locate([other])[0].found
    assert_array_equal(aligner.transform([other])[0, :, :, 0], other)


def test_what_a_photo_does_not_show_is_of_the_mean_photo(aligner):
    photo = part(shift=(0, 20), noise=0)
    found = aligner.transform(photo[None])[0].astype(float)
    # The part lies 20 pixels to the right, so the photo ends 20 pixels before the template does.
    expected = 255 * aligner.photo_
    background = [int(np.median(expected[:20, :20, 0])), int(np.median(found[:, -12:, 0]))]
    assert background[0] == pytest.approx(background[1], abs=3)
    assert found[:, -12:].std() < 5


def test_files_and_floats_and_grey_photos_do_as_well(aligner, moved, tmp_path):
    Image.fromarray(moved[0][0]).save(tmp_path / "0.png")
    expected = aligner.transform(moved[0][:1])
    assert_array_equal(aligner.transform([str(tmp_path / "0.png")]), expected)
    shares = aligner.transform(moved[0][:1] / np.float32(255))
    assert shares.dtype == np.float32
    assert_allclose(shares, expected / 255, atol=0.01)
    mixed = aligner.transform([moved[0][0], moved[0][1, ..., 0] / np.float32(255)])
    assert mixed.dtype == np.float32
    assert mixed.max() <= 1


def test_another_file_of_it_moves_as_it_did(aligner, moved):
    again = pickle.loads(pickle.dumps(aligner))
    assert not hasattr(again, "_registration")
    assert_array_equal(again.transform(moved[0][:3]), aligner.transform(moved[0][:3]))
    assert clone(aligner).get_params() == aligner.get_params()


def test_a_fit_decodes_no_more_photos_than_it_is_told(moved, tmp_path):
    paths = []
    for number, photo in enumerate(moved[0][:9]):
        paths.append(str(tmp_path / f"{number}.png"))
        if number in (0, 4, 8):
            Image.fromarray(photo).save(paths[-1])
    aligner = PartAligner(n_photos=3).fit(paths)
    assert len(aligner.fits_) == len(aligner.motions_) == 3


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"motion": "turn"}, "motion"),
        ({"max_angle": 200}, "max_angle"),
        ({"max_shift": 0}, "max_shift"),
        ({"max_scale": 0.5}, "max_scale"),
        ({"n_photos": 2}, "n_photos"),
        ({"image_size": (3, -1)}, "image_size"),
    ],
)
def test_parameters_out_of_range_are_named(parameters, message, moved):
    with pytest.raises(ValueError, match=message):
        PartAligner(**parameters).fit(moved[0])


def test_photos_that_teach_nothing_are_refused(moved):
    with pytest.raises(ValueError, match="at least 3"):
        PartAligner().fit(moved[0][:2])
    blank = np.full_like(moved[0][:1], 90)
    with pytest.raises(
        ValueError, match=r"1 of 6 photos are of one colour, without an edge, the first: X\[5\]\."
    ):
        PartAligner().fit(np.concatenate([moved[0][:5], blank]))


def test_a_failed_fit_leaves_it_as_it_was(aligner, moved):
    kept = clone(aligner).fit(moved[0][:6])
    before = kept.edges_
    with pytest.raises(ValueError, match="without an edge"):
        kept.fit(np.full_like(moved[0][:6], 90))
    assert kept.edges_ is before


def test_photos_that_do_not_agree_are_warned_of():
    with pytest.warns(UserWarning, match="agrees by 0.* only"):
        PartAligner().fit(textures(8))


def test_threads_of_torch_decide_nothing(aligner, moved):
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = aligner.transform(moved[0][:2])
    finally:
        torch.set_num_threads(n_threads)
    assert np.abs(two.astype(int) - aligner.transform(moved[0][:2])).max() <= 1


@pytest.mark.usefixtures("warned_each_time")
def test_files_that_are_mapped_into_memory_do(aligner, moved, tmp_path, recwarn):
    """Their arrays may not be written to, of which torch would warn."""
    joblib.dump(aligner, tmp_path / "aligner.joblib")
    mapped = joblib.load(tmp_path / "aligner.joblib", mmap_mode="r")
    assert not mapped.grey_.flags.writeable
    assert_array_equal(mapped.transform(moved[0][:3]), aligner.transform(moved[0][:3]))
    assert not recwarn.list

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skpadim import PartAligner
from skpadim.alignment.motion import Motion
from skpadim.alignment.registration import Placement
from skpadim.alignment.view import AlignedView
from skpadim.coordinates import PlacedBatch
from skpadim.images.collection import check_images
from tests.alignment.shapes import parts


@pytest.fixture(scope="module")
def view():
    aligner = PartAligner(max_angle=20).fit(parts(12, max_angle=4, max_shift=6)[0])
    return AlignedView(aligner, (64, 64), (64, 64), (8, 8))


def test_photos_are_known_by_where_their_parts_lie(view):
    down = Placement(Motion(1 + 0j, 0.25j), 0.99)
    known = view.batch([down, Placement(Motion(), 0.98)])
    assert_array_equal(known.hidden[0].numpy(), np.arange(8)[:, None].repeat(8, 1) >= 6)
    assert not known.hidden[1].any()
    assert known.fits.tolist() == [0.99, 0.98]
    maps = known.as_they_lie(torch.arange(64.0).view(1, 64, 1).expand(2, 64, 64))
    assert_array_equal(maps[0, 16:, 5], np.arange(48.0))
    assert maps[0, :16].isnan().all()
    assert_array_equal(maps[1, :, 5], np.arange(64.0))


def test_parts_that_were_not_found_stay_where_they_are(view):
    known = view.batch([Placement(Motion(1j, 0.2 + 0j), 0.1)])
    assert not known.hidden.any()
    seen = torch.arange(64.0 * 64).view(1, 64, 64)
    assert torch.allclose(known.as_they_lie(seen), seen, rtol=1e-4)


def test_what_many_good_photos_do_not_show_is_rarely_seen(view):
    rarely = view.rarely_seen()
    assert rarely[:4].any()
    assert not rarely[16:48, 16:48].any()


def test_photos_in_which_nothing_was_found_are_noted(view):
    images = check_images(np.zeros((4, 8, 8), dtype=np.uint8))
    view.note_astray(images, PlacedBatch([], fits=np.array([0.95, 0.93])), [1, 2])
    assert images.notes.n_astray == 0
    view.note_astray(images, PlacedBatch([], fits=np.array([0.2, 0.1])), [2, 3])
    assert images.notes.n_astray == 2
    assert images.notes.astray.startswith("X[2] fits by 0.20 (found: 0.")

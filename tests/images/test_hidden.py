from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_array_equal

from skpadim.alignment.motion import Motion
from skpadim.alignment.sampling import Sampler
from skpadim.images.hidden import hidden_patches, rarely_seen


def shifted(down, across, size):
    return Motion(1 + 0j, complex(across / size, down / size))


def test_patches_are_hidden_of_which_over_a_quarter_is_outside():
    sampler = Sampler(1.0, (16, 16), (16, 16))
    motions = [Motion(), shifted(0, 1, 16), shifted(0, 2, 16), shifted(-6, 0, 16)]
    hidden = hidden_patches(torch.stack([sampler.outside(motion) for motion in motions]), (4, 4))
    assert not hidden[0].any()
    assert not hidden[1].any()
    assert_array_equal(hidden[2].numpy(), np.tile([False, False, False, True], (4, 1)))
    assert_array_equal(hidden[3].numpy()[:, 0], [True, True, False, False])


def test_places_that_over_a_tenth_of_good_photos_hide_are_rarely_seen():
    hidden = torch.zeros(20, 3, 2, dtype=torch.bool)
    hidden[:2, 0, 0] = True  # a tenth
    hidden[:3, 2, 1] = True
    expected = np.zeros((9, 4), bool)
    expected[6:, 2:] = True
    assert_array_equal(rarely_seen(hidden, (9, 4)), expected)


def test_pixels_that_share_a_patch_that_is_seen_are_kept():
    hidden = torch.zeros(1, 3, 1, dtype=torch.bool)
    hidden[0, 0] = True
    # Of 10 rows, the first patch has 0 to 3, the second 3 to 6.
    assert_array_equal(rarely_seen(hidden, (10, 1))[:, 0], [True] * 3 + [False] * 7)

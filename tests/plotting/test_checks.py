"""What is refused before anything is drawn; what a display says of it is tested with the displays."""

from __future__ import annotations

import numpy as np
import pytest

from skpadim.plotting.checks import check_like_photos, check_masks, check_names, check_scores, check_threshold

PHOTOS = [np.zeros((4, 5, 3)), np.zeros((3, 2, 3))]
INDICES = np.array([7, 2])


def test_names_are_all_labels_or_all_strings():
    assert check_names(["good", "dent"], 2).tolist() == ["good", "dent"]
    assert check_names([1, -1.0], 2).tolist() == [1, -1]
    with pytest.raises(ValueError, match=r"y\[0\] is dent, expected \+1 .* or a name for each"):
        check_names(np.array(["dent", 1], dtype=object), 2)


def test_masks_of_good_photos_are_empty():
    empty, full = check_masks([None, np.full((3, 2), 255)], PHOTOS, INDICES)
    assert (empty.shape, empty.any(), full.all()) == ((4, 5), False, True)


def test_messages_name_a_photo_by_its_index():
    with pytest.raises(ValueError, match=r"masks\[2\] has shape \(4, 5\), its photo \(3, 2\)"):
        check_masks([None, np.ones((4, 5))], PHOTOS, INDICES)
    with pytest.raises(ValueError, match=r"maps\[7\] has shape \(1, 1\), its photo \(4, 5\)"):
        check_like_photos("maps", [np.ones((1, 1)), np.ones((3, 2))], PHOTOS, INDICES)
    with pytest.raises(ValueError, match=r"masks\[2\] is not binary"):
        check_masks([None, np.full((3, 2), 7)], PHOTOS, INDICES)


def test_numbers_are_finite():
    assert check_threshold(np.float32(2)) == 2.0
    for wrong in (np.inf, "2", None):
        with pytest.raises(ValueError, match="threshold is"):
            check_threshold(wrong)
    with pytest.raises(ValueError, match=r"scores must be finite .* got shape \(2,\)"):
        check_scores("scores", [1.0, np.inf])

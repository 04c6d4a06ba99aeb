"""What a fit decided of photos, in a card and in words."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from skpadim import PartAligner
from skpadim.datasets import make_inspection_images
from skpadim.decisions import decisions, decisions_in_words
from small import small

BY_DEFAULT = {"align": None, "align_by_auto": False, "patch_stride": None, "ignore": False, "n_groups": None}


@pytest.fixture(scope="module")
def moved():
    return make_inspection_images(24, 0, 0, image_size=96, max_angle=8, max_shift=6).X_train


def learner(**params):
    return small(**({"image_size": 96, "false_alarm_rate": 0.2} | params))


def test_a_plain_fit_takes_photos_as_they_lie(detector):
    assert decisions(detector) == BY_DEFAULT
    assert decisions_in_words(BY_DEFAULT) == {"parts": "taken as they lie"}


def test_what_was_asked_for_is_said(moved):
    mask = np.zeros((96, 96), bool)
    mask[:9] = True
    detector = learner(align="rigid", patch_stride=np.int64(16), ignore=mask)
    found = decisions(detector.fit(moved, groups=np.arange(24) // 8))
    expected = {"align": "rigid", "align_by_auto": False, "patch_stride": 16, "ignore": True, "n_groups": 3}
    assert json.loads(json.dumps(found)) == expected
    words = decisions_in_words(found)
    assert [*words] == ["parts", "patches", "ignored", "groups"]
    assert words["patches"] == "at least 16 px apart" and words["ignored"] == "a region of all aligned photos"
    assert words["groups"].startswith("3, each left out as a whole")


@pytest.mark.parametrize("moves", [True, False])
def test_what_auto_decided_is_said(moves, moved, photos):
    found = decisions(learner(align="auto").fit(moved if moves else photos.X_train))
    assert found == BY_DEFAULT | {"align": "rigid" if moves else None, "align_by_auto": True}
    words = decisions_in_words(found)["parts"]
    assert words.endswith(', as align="auto" decided')
    assert words.startswith("turned and shifted" if moves else "taken as they lie")


def test_an_aligner_of_its_own_says_its_motion(moved):
    frozen = FrozenEstimator(PartAligner("shift").fit(moved))
    for align in ("shift", PartAligner("shift"), frozen):
        assert decisions(learner(align=align).fit(moved)) == BY_DEFAULT | {"align": "shift"}
    assert decisions_in_words({"align": "shift"})["parts"] == "shifted to where good photos have them"


def test_cards_of_earlier_versions_say_nothing():
    assert decisions_in_words({"name": "line 3", "threshold": 3.0}) == {}

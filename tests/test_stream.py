"""What a fit sees of photos while they pass: copies of each other, and how good ones look."""

from __future__ import annotations

import warnings

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.ndimage import gaussian_filter

from skpadim.images.statistics import STATISTICS
from small import small


@pytest.fixture(params=[False, True], ids=["computed", "kept in memory"])
def memory(request, tmp_path):
    return tmp_path / "memory" if request.param else None


def test_copies_in_a_fit_are_told(photos, memory, tmp_path):
    doubled = np.concatenate([photos.X_train, photos.X_train[[4, 7, 4]]])
    with pytest.warns(UserWarning, match=r"3 of 33 images in X are exact copies.*X\[30\] of X\[4\]"):
        small(memory=memory, batch_size=7).fit(doubled)
    paths = [tmp_path / f"{index}.png" for index in range(len(doubled))]
    for path, photo in zip(paths, doubled, strict=True):
        Image.fromarray(photo).save(path)
    paths[2].write_bytes(b"no photo")
    copies = r"3 of 32 images in X are exact copies.*30\.png'\) of X\[4\]"
    with pytest.warns(UserWarning, match=copies), pytest.warns(UserWarning, match="1 of 33 images"):
        small(memory=memory, on_error="skip").fit(paths)


def test_statistics_of_a_fit_are_those_of_the_photos(photos, memory):
    for _ in range(2):  # The second time nothing is decoded where features are kept.
        detector = small(memory=memory).fit(photos.X_train)
        assert detector.photo_statistics_.shape == (30, len(STATISTICS))
        grey = photos.X_train / 255 @ [0.299, 0.587, 0.114]
        assert_allclose(detector.photo_statistics_[:, 3], grey.mean(axis=(1, 2)), rtol=1e-5)
        assert_array_equal(detector.photo_statistics_[:, :2], 64)


def test_check_tells_what_no_good_photo_looks_like(detector, photos, memory, tmp_path):
    failed = {
        "sharpness": gaussian_filter(photos.X_test[0], (2, 2, 0)),
        "contrast": np.full((64, 64, 3), 127, dtype=np.uint8),
        "brightness": (photos.X_test[1] * 0.3).astype(np.uint8),
        "aspect": np.zeros((30, 3000, 3), dtype=np.uint8),
    }
    checks = small(memory=memory).fit(photos.X_train).check(list(failed.values()))
    for index, (check, name) in enumerate(zip(checks, failed, strict=True)):
        assert check.index == index
        assert not check.ok
        assert name in check.outside
        assert f"{name} " in str(check)
    joblib.dump(detector, tmp_path / "detector.joblib")
    again = joblib.load(tmp_path / "detector.joblib")
    assert again.check(photos.X_test) == detector.check(photos.X_test)


def test_scores_too_good_to_be_true_are_told(detector, photos):
    lowest = detector.loo_scores_.min()
    checks = detector.check(photos.X_train)  # Their scores are lower than they would be for new photos.
    scores = -detector.score_samples(photos.X_train)
    assert [("score" in check.outside) for check in checks] == list(scores < lowest)
    assert any("score" in check.outside for check in checks)


def test_rate_of_a_check_holds_for_good_photos(photos):
    rng = np.random.default_rng(0)
    lights = rng.uniform(0.5, 1.0, (400, 1, 1, 1))
    base = photos.X_train[rng.integers(0, len(photos.X_train), 400)]
    lit = (base * lights).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector = small(n_channels=4).fit(lit[:200])
    outside = [
        bool(set(check.outside) - {"score"}) for check in detector.check(lit[200:], false_alarm_rate=0.1)
    ]
    assert np.mean(outside) < 0.1 + 3 * np.sqrt(0.1 * 0.9 / 200) + 0.03


def test_detector_of_an_earlier_version_has_learned_no_looks(photos):
    old = small().fit(photos.X_train)
    del old.photo_statistics_
    with pytest.raises(ValueError, match=r"check: this detector has not learned .*Fit it again"):
        old.check(photos.X_test)


def test_check_skips_what_cannot_be_read(photos, tmp_path):
    Image.fromarray(photos.X_test[0]).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"no photo")
    detector = small(on_error="skip").fit(photos.X_train)
    with pytest.warns(UserWarning, match="1 of 2 images"):
        checks = detector.check([tmp_path / "0.png", tmp_path / "1.png"])
    assert [check.index for check in checks] == [0]

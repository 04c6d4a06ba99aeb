"""What becomes of photos in a fit: their range, regions to ignore, those that cannot be read."""

from __future__ import annotations

import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.pipeline import Pipeline

from skpadim import CNNFeatureTransformer, PatchGaussian
from small import small


def as_12_bits(photos):
    return photos.mean(axis=3).astype(np.uint16) * 16


@pytest.mark.parametrize("value_range", [12, (0, 4095)], ids=str)
def test_photos_of_12_bits_are_those_of_8(photos, value_range):
    grey = photos.X_train.mean(axis=3).astype(np.uint8)
    expected = small().fit(grey)
    found = small(value_range=value_range).fit(as_12_bits(photos.X_train))
    scores = expected.score_samples(photos.X_test.mean(axis=3).astype(np.uint8))
    # 16 times a byte of 255 is 4,080 of 4,095.
    assert_allclose(found.score_samples(as_12_bits(photos.X_test)), scores, rtol=0.05)


def test_range_that_is_hardly_used_is_warned_of(photos):
    with pytest.warns(UserWarning, match=r"use 0\.0\d+ of their range of values.*value_range=bits"):
        small().fit(as_12_bits(photos.X_train) // 16 * 8)


def test_range_is_warned_of_in_a_pipeline_too(photos):
    features = CNNFeatureTransformer("resnet18", layers=["layer1"], weights=None, image_size=64)
    pipeline = Pipeline([("features", features), ("gaussian", PatchGaussian())])
    with pytest.warns(UserWarning, match="All photos together use"):
        pipeline.fit(as_12_bits(photos.X_train) // 16 * 8)


@pytest.fixture
def files(photos, tmp_path):
    paths = [tmp_path / f"{index:02}.png" for index in range(len(photos.X_train))]
    for path, photo in zip(paths, photos.X_train, strict=True):
        Image.fromarray(photo).save(path)
    return paths


@pytest.fixture(params=[False, True], ids=["computed", "kept in memory"])
def memory(request, tmp_path):
    return tmp_path / "memory" if request.param else None


def test_unreadable_photos_are_skipped_and_told(files, memory):
    whole = small(batch_size=4, memory=memory)
    expected = whole.fit([path for index, path in enumerate(files) if index not in (3, 5, 29)])
    scores = expected.score_samples(files)
    for index in (3, 5, 29):
        files[index].write_bytes(b"no photo")
    detector = small(batch_size=4, memory=memory, on_error="skip")
    with pytest.warns(UserWarning, match=r"3 of 30 images in X could not be read.*X\[3\].*03\.png"):
        detector.fit(files)
    assert detector.pipeline_["gaussian"].n_samples_seen_ == 27
    with pytest.warns(UserWarning, match="3 of 30 images"):
        found = detector.score_samples(files)
    missing = np.isin(np.arange(30), (3, 5, 29))
    assert_array_equal(np.isnan(found), missing)
    assert_allclose(found[~missing], scores[~missing], rtol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_array_equal(np.isnan(detector.p_values(files)), missing)
        assert_array_equal(np.isnan(detector.anomaly_map(files)).all(axis=(1, 2)), missing)
        assert (detector.predict(files)[missing] == -1).all()
        assert not detector.segment(files)[missing].any()
        assert [single is None for single in detector.segment(files, original_size=True)] == list(missing)
        assert np.isnan(detector.score_samples(files[3:4])).all()


def test_the_same_broken_photo_twice(files, memory):
    for path in files[-2:]:
        path.write_bytes(b"no photo")
    detector = small(batch_size=2, memory=memory, on_error="skip")
    with pytest.warns(UserWarning, match="2 of 30 images"):
        assert detector.fit(files).pipeline_["gaussian"].n_samples_seen_ == 28


def test_unreadable_photos_are_refused_by_default(files):
    files[4].write_bytes(b"no photo")
    with pytest.raises(ValueError, match=r"X\[4\] .*04\.png"):
        small().fit(files)


def test_too_few_photos_are_left(files):
    for path in files[1:]:
        path.write_bytes(b"no photo")
    with pytest.raises(ValueError, match=r"n_samples=1 image"), pytest.warns(UserWarning, match="4 of 5"):
        small(on_error="skip").fit(files[:5])


def test_serial_numbers_may_be_ignored(photos, tmp_path):
    def numbered(images, seed):
        images = images.copy()
        rng = np.random.default_rng(seed)
        for image in images:
            image[4:14, 4:40] = gaussian_filter(rng.uniform(0, 255, (10, 36)), 1.0)[..., None]
        return images

    region = np.zeros((64, 64), dtype=np.uint8)
    region[4:14, 4:40] = 255
    Image.fromarray(region).save(tmp_path / "region.png")
    train, test = numbered(photos.X_train, 0), numbered(photos.X_test, 1)
    detector = small(ignore=tmp_path / "region.png").fit(train)
    maps = detector.anomaly_map(test)
    assert (maps[:, region > 0] == 0).all()
    assert_allclose(detector.score_samples(test), -maps.max(axis=(1, 2)))
    assert not detector.segment(test)[:, region > 0].any()
    joblib.dump(detector, tmp_path / "detector.joblib")
    again = joblib.load(tmp_path / "detector.joblib")
    assert_array_equal(again.score_samples(test), detector.score_samples(test))
    assert isinstance(detector.ignore, Path)
    assert_allclose(detector.score_samples(numbered(photos.X_test, 2)), detector.score_samples(test))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_network_sees_one_colour_where_nothing_counts(dtype, photos, tmp_path):
    """Painted by hand with the mean that the network takes away, photos give the same features."""
    region = np.zeros((64, 64), dtype=bool)
    region[10:20, 30:50] = True
    colour = np.array([0.485, 0.456, 0.406])
    images = photos.X_train if dtype is np.uint8 else (photos.X_train / 255).astype(dtype)
    painted = images.copy()
    painted[:, region] = (255 * colour).round() if dtype is np.uint8 else colour
    params = {"layers": ["layer1"], "weights": None, "image_size": 64}
    for memory in (None, tmp_path):
        CNNFeatureTransformer("resnet18", memory=memory, **params).fit_transform(images)
        found = CNNFeatureTransformer("resnet18", memory=memory, ignore=region, **params).fit_transform(
            images
        )
        expected = CNNFeatureTransformer("resnet18", **params).fit_transform(painted)
        assert_allclose(found.levels[0], expected.levels[0], rtol=1e-5, atol=1e-5)
    assert (images[0, region] != painted[0, region]).any(), "the photos themselves stay"


@pytest.mark.parametrize(
    ("ignore", "message"),
    [
        (np.ones((64, 64), dtype=bool), "ignore covers all"),
        (np.full((64, 64), 7), "ignore is not binary"),
        ("nowhere.png", "no such file"),
    ],
)
def test_regions_that_cannot_be_ignored(ignore, message, photos):
    with pytest.raises(ValueError, match=message):
        small(ignore=ignore).fit(photos.X_train)


def test_masks_of_another_shape_than_the_photos_are_told(photos):
    mask = np.zeros((30, 90), dtype=np.uint8)
    mask[:5] = 1
    with pytest.warns(UserWarning, match=r"ignore is 30 x 90 pixels, and 100% of the photos .*height first"):
        small(ignore=mask).fit(photos.X_train)


def test_checks_of_photos_do_not_look_at_what_is_ignored(photos):
    region = np.zeros((64, 64), dtype=bool)
    region[:20] = True
    detector = small(ignore=region).fit(photos.X_train)
    painted = photos.X_test.copy()
    painted[:, :20] = 255
    assert detector.check(painted) == detector.check(photos.X_test)


def test_one_camera_at_two_scales_is_told(photos, tmp_path):
    grey = as_12_bits(photos.X_train)
    paths = []
    for index, image in enumerate(grey):
        if index % 2:
            path = tmp_path / f"{index}.pgm"
            path.write_bytes(b"P5 64 64 4095\n" + image.astype(">u2").tobytes())
        else:
            path = tmp_path / f"{index}.npy"
            np.save(path, image)
        paths.append(path)
    with pytest.warns(UserWarning, match=r"X\[1\].*states which values.*X\[0\].*Pass value_range"):
        small().fit(paths)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(value_range=12).fit(paths)


def test_what_a_fit_skipped_is_kept(files):
    files[4].write_bytes(b"no photo")
    with pytest.warns(UserWarning, match="1 of 30 images"):
        detector = small(on_error="skip").fit(files)
    assert list(detector.skipped_) == [4]
    assert "4.png" in detector.skipped_[4]


def test_all_that_was_unreadable_is_told(files):
    for path in files:
        path.write_bytes(b"no photo")
    told = pytest.warns(UserWarning, match=r"30 of 30 images .*0\.png")
    with told, pytest.raises(ValueError, match=r"n_samples=0 image"):
        small(on_error="skip").fit(files)

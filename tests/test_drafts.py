"""PaDiMDetector(decoding="draft"): large JPEG files, decoded to fewer pixels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone

from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images
from skpadim.images.collection import check_images
from skpadim.images.decoding import decode

SEEN = 64
LARGE = (
    600,
    400,
)  # width and height: a sixth of them is less than twice what the network sees, a quarter not


def small(**params):
    defaults = {"weights": None, "image_size": SEEN, "false_alarm_rate": 0.2, "device": "cpu"}
    return PaDiMDetector(**defaults | params)


@pytest.fixture(scope="module")
def photos():
    return make_inspection_images(n_train=8, n_good=2, n_defective=2, image_size=128)


def files(arrays, folder, ending="jpg", size=LARGE, **how):
    paths = []
    for number, array in enumerate(arrays):
        paths.append(folder / f"{number}.{ending}")
        Image.fromarray(array).resize(size).save(paths[-1], **how)
    return paths


@pytest.mark.parametrize(
    ("least", "expected"), [((100, 150), (100, 150)), ((101, 150), (200, 300)), ((401, 601), (400, 600))]
)
def test_a_jpeg_is_decoded_to_a_half_a_quarter_or_an_eighth(tmp_path, photos, least, expected):
    (path,) = files(photos.X_test[:1], tmp_path)
    raster = decode(path, "X[0]", lambda size: least)
    assert raster.values.shape[:2] == expected
    assert raster.size == (400, 600)
    with Image.open(path) as image:
        image.draft("RGB", expected[::-1])
        assert np.array_equal(raster.values, np.asarray(image))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_photo_on_its_side_is_asked_for_and_returned_upright(tmp_path, photos, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (path,) = files(photos.X_test[:1], tmp_path, exif=exif)
    upright = (600, 400) if orientation == 6 else (400, 600)
    asked = []

    def least(size):
        asked.append(size)
        return size[0] // 4, size[1] // 4

    raster = decode(path, "X[0]", least)
    assert asked == [upright] == [raster.size]
    assert raster.values.shape[:2] == (upright[0] // 4, upright[1] // 4)
    whole = np.asarray(Image.fromarray(decode(path, "X[0]").values).resize(raster.values.shape[1::-1]))
    assert np.abs(whole.astype(int) - raster.values).mean() < 8  # and not upside down


def test_other_files_are_as_they_are(tmp_path, photos):
    for ending in ("png", "bmp", "webp"):
        (path,) = files(photos.X_test[:1], tmp_path, ending)
        raster = decode(path, "X[0]", lambda size: (10, 10))
        assert raster.size is None
        assert np.array_equal(raster.values, decode(path, "X[0]").values)


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_drafts_have_twice_what_the_network_sees_and_pixels_differ_by_few_levels(tmp_path, photos, resize):
    paths = files(photos.X_train, tmp_path, quality=95)
    exact = small(resize=resize).fit(paths)
    draft = small(resize=resize, decoding="draft").fit(paths)
    pixels = []
    for detector in (exact, draft):
        features = detector.pipeline_["features"]
        (batch,) = features.batches(paths)
        pixels.append(batch.pixels.numpy().astype(int))
        assert batch.original_sizes == [LARGE[::-1]] * len(paths)
    difference = np.abs(pixels[0] - pixels[1])
    assert 0 < difference.mean() < 1
    assert difference.max() <= 12
    scores = exact.score_samples(paths), draft.score_samples(paths)
    np.testing.assert_allclose(scores[0], scores[1], rtol=0.1)


def test_maps_and_regions_are_of_the_whole_photo(tmp_path, photos):
    paths = files(photos.X_train, tmp_path)
    (tmp_path / "bad").mkdir()
    bad = files(photos.X_test[2:], tmp_path / "bad")
    exact, draft = (
        small(decoding=way)
        .fit(paths)
        .set_threshold(0.0)
        .inspect(bad, maps=True, masks=True, regions=True, original_size=True)
        for way in ("exact", "draft")
    )
    for one, other in zip(exact, draft, strict=True):
        assert other.map.shape == other.mask.shape == LARGE[::-1]
        assert np.corrcoef(one.map.ravel(), other.map.ravel())[0, 1] > 0.95
        (region,) = other.regions  # all that is marked: everything
        assert (region.top, region.left, region.height, region.width) == (0, 0, *LARGE[::-1])


def test_aligned_photos_too(tmp_path):
    moved = make_inspection_images(
        n_train=12, n_good=2, n_defective=0, image_size=96, max_angle=8, max_shift=6
    )
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    train = files(moved.X_train, tmp_path / "train", size=(640, 640))
    test = files(moved.X_test, tmp_path / "test", size=(640, 640))
    exact, draft = (small(align="rigid", decoding=way).fit(train) for way in ("exact", "draft"))
    places = [detector.pipeline_["features"].aligner_.locate(test) for detector in (exact, draft)]
    assert [place.found for place in places[1]] == [True, True]
    np.testing.assert_allclose(draft.score_samples(test), exact.score_samples(test), rtol=0.15)


def test_it_is_a_parameter_like_others(tmp_path, photos):
    paths = files(photos.X_train, tmp_path)
    with pytest.raises(ValueError, match=r"'decoding' parameter .* must be a str among"):
        small(decoding="fast").fit(paths)
    detector = small(decoding="draft").fit(paths)
    assert clone(detector).decoding == "draft"
    assert detector.pipeline_["features"].decoding == "draft"
    with pytest.raises(ValueError, match="decoding"):
        small(decoding="exact").partial_fit(paths[:4]).set_params(decoding="draft").partial_fit(paths[4:])


def test_kept_features_are_of_one_way_of_decoding(tmp_path, photos):
    paths = files(photos.X_train, tmp_path)
    exact = small(memory=tmp_path / "kept").fit(paths).score_samples(paths)
    draft = small(memory=tmp_path / "kept", decoding="draft").fit(paths).score_samples(paths)
    np.testing.assert_array_equal(draft, small(decoding="draft").fit(paths).score_samples(paths))
    assert not np.array_equal(exact, draft)


def test_a_single_photo_of_negative_stride(photos):
    turned = photos.X_test[:1][:, ::-1]
    for view in (turned, photos.X_test[:1][::-1], np.ascontiguousarray(turned)[:, ::-1][::-1]):
        (batch,) = check_images(view).batches(1, (128, 128), None, 1)
        assert np.array_equal(
            batch.pixels.permute(0, 2, 3, 1).numpy()[..., 0], view.reshape(1, 128, 128, -1)[..., 0]
        )


def test_what_was_fitted_goes_on_decoding_so(tmp_path, photos):
    paths = files(photos.X_train, tmp_path)
    detector = small(decoding="draft").fit(paths)
    expected = detector.score_samples(paths)
    np.testing.assert_array_equal(detector.set_params(decoding="exact").score_samples(paths), expected)

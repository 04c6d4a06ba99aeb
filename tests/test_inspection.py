"""One pass of the network tells all that several tell."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from small import small

ALL = {"maps": True, "masks": True, "regions": True, "checks": True}


@pytest.fixture(scope="module", params=["whole", "cropped", "recalled"])
def fitted(request, photos, tmp_path_factory):
    params = {
        "whole": {},
        "cropped": {"crop_size": (48, 40)},
        "recalled": {"memory": tmp_path_factory.mktemp("memory")},
    }
    return small(batch_size=5, **params[request.param]).fit(photos.X_train)


@pytest.fixture(scope="module")
def mixed(photos):
    """Photos of several sizes, smaller and larger than the network's."""
    sizes = [(64, 64), (97, 211), (31, 40), (300, 128)]
    return [
        np.asarray(Image.fromarray(photo).resize(sizes[place % 4][::-1]))
        for place, photo in enumerate(photos.X_test)
    ]


def test_scores_labels_and_p_values_are_those_of_the_methods(fitted, mixed):
    found = fitted.inspect(mixed)
    assert np.array_equal(-found.scores, fitted.score_samples(mixed))
    assert np.array_equal(found.p_values, fitted.p_values(mixed))
    assert np.array_equal(found.labels, fitted.predict(mixed))
    assert {one.threshold for one in found} == {-fitted.offset_}
    assert [one.size for one in found] == [photo.shape[:2] for photo in mixed]
    assert all(one.map is one.mask is one.regions is one.check is None for one in found)


@pytest.mark.parametrize("original_size", [False, True])
def test_maps_masks_and_checks_are_those_of_the_methods(fitted, mixed, original_size):
    found = fitted.inspect(mixed, **ALL, original_size=original_size)
    maps = fitted.anomaly_map(mixed, original_size=original_size)
    masks = fitted.segment(mixed, original_size=original_size)
    for one, expected, mask in zip(found, maps, masks, strict=True):
        assert np.array_equal(one.map, expected, equal_nan=True)
        assert np.array_equal(one.mask, mask)
    assert [one.check for one in found] == fitted.check(mixed)


def test_regions_are_the_connected_parts_of_the_mask(fitted, mixed):
    found = fitted.inspect(mixed, regions=True, masks=True, original_size=True)
    assert any(len(one.regions) > 1 for one in found), "nothing is tested"
    for one in found:
        labels, n_regions = ndimage.label(one.mask, structure=np.ones((3, 3)))
        assert len(one.regions) == n_regions
        assert sorted(region.area for region in one.regions) == sorted(np.bincount(labels.flat)[1:])
        assert bool(one.regions) == one.is_anomaly
        assert [r.peak for r in one.regions] == sorted((r.peak for r in one.regions), reverse=True)
        assert max((region.peak for region in one.regions), default=one.score) == one.score
        for region in one.regions:
            label = labels[region.peak_row, region.peak_column]
            assert label > 0
            rows, columns = np.nonzero(labels == label)
            assert (region.top, region.left) == (rows.min(), columns.min())
            assert (region.height, region.width) == (np.ptp(rows) + 1, np.ptp(columns) + 1)
            assert region.area == len(rows)
            assert region.peak > one.threshold


def test_small_regions_are_left_out_and_nothing_else(fitted, mixed):
    everything = fitted.inspect(mixed, regions=True, masks=True)
    areas = sorted(region.area for one in everything for region in one.regions)
    least = areas[len(areas) // 2] + 1
    large = fitted.inspect(mixed, regions=True, masks=True, min_area=least)
    assert np.array_equal(large.labels, everything.labels)
    for some, every in zip(large, everything, strict=True):
        assert np.array_equal(some.mask, every.mask)
        assert some.regions == tuple(region for region in every.regions if region.area >= least)


@pytest.mark.parametrize("min_area", [0, 1.5, True, "9"])
def test_min_area_is_a_number_of_pixels(detector, photos, min_area):
    with pytest.raises(ValueError, match="min_area="):
        detector.iter_inspect(photos.X_test, min_area=min_area)


def test_photos_come_one_at_a_time(photos, tmp_path):
    detector = small(batch_size=2, n_decoders=1).fit(photos.X_train)
    paths = []
    for place, photo in enumerate(photos.X_test):
        paths.append(tmp_path / f"{place}.png")
        Image.fromarray(photo).save(paths[-1])
    stream = detector.iter_inspect(paths)
    first = next(stream)
    assert (first.index, first.path) == (0, str(paths[0]))
    # What lies far ahead is not read yet.
    paths[-1].unlink()
    with pytest.raises(ValueError, match=rf"X\[{len(paths) - 1}\]"):
        list(stream)


@pytest.mark.parametrize("lost", [{0}, {2, 3}, {4, 5}])
def test_what_cannot_be_read_keeps_its_place(photos, tmp_path, lost):
    detector = small(batch_size=2, on_error="skip").fit(photos.X_train)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no photo")
    X = [str(bad) if place in lost else photo for place, photo in enumerate(photos.X_test[:6])]
    with pytest.warns(UserWarning, match="could not be read"):
        found = detector.inspect(X, **ALL)
    assert [one.index for one in found] == list(range(6))
    for one in found:
        assert (one.error is not None) == (one.index in lost)
        if one.error is not None:
            assert "bad.png" in one.error and one.path == str(bad)
            assert np.isnan(one.score) and np.isnan(one.p_value) and one.label == -1
            assert one.map is one.mask is one.regions is one.check is one.size is None
    assert repr(found).endswith(f"{len(lost)} could not be read>")
    with pytest.warns(UserWarning, match="could not be read"):
        assert np.array_equal(found.labels, detector.predict(X))


def test_tables(detector, photos, tmp_path):
    path = tmp_path / "defective.png"
    worst = detector.score_samples(photos.X_test).argmin()
    Image.fromarray(photos.X_test[worst]).save(path)
    found = detector.inspect([photos.X_test[0], path], regions=True, checks=True)
    frame = found.to_frame()
    assert frame["score"].tolist() == found.scores.tolist()
    assert frame["label"].tolist() == found.labels.tolist()
    assert frame["path"].isna().tolist() == [True, False] and frame["path"].iloc[1] == str(path)
    assert frame["n_regions"].tolist() == [len(one.regions) for one in found]
    assert frame["largest_area"].tolist() == [max((r.area for r in one.regions), default=0) for one in found]
    assert (frame["outside"] == "").tolist() == [one.check.ok for one in found]
    regions = found.regions_to_frame()
    assert len(regions) == sum(len(one.regions) for one in found) > 0
    assert set(regions["index"]) <= {0, 1}
    assert regions["peak"].max() == found.scores.max()
    plain = detector.inspect(photos.X_test[:2])
    assert "n_regions" not in plain.to_frame() and "outside" not in plain.to_frame()
    with pytest.raises(ValueError, match="regions=True"):
        plain.regions_to_frame()


def test_a_part_of_the_photos(detector, photos):
    found = detector.inspect(photos.X_test)
    assert found[1:3].scores.tolist() == found.scores[1:3].tolist()
    assert found[-1].index == len(photos.X_test) - 1


def test_maps_are_arrays_of_their_own(detector, photos):
    one = detector.inspect(photos.X_test, maps=True, masks=True)[0]
    assert one.map.base is None or one.map.base.nbytes == one.map.nbytes
    assert one.mask.base is None or one.mask.base.nbytes == one.mask.nbytes


def test_before_a_fit():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        small().iter_inspect([np.zeros((64, 64), np.uint8)])

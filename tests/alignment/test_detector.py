"""PaDiMDetector(align=...): photos whose parts move, and scores, maps and checks of these."""

from __future__ import annotations

import io

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score

from skpadim import CNNFeatureTransformer, PaDiMDetector, PartAligner, PatchGaussian, merge
from skpadim.datasets import make_inspection_images
from skpadim.export.refusals import refuse_what_files_cannot
from skpadim.persistence import TRUSTED_TYPES
from tests.alignment.shapes import part, parts, textures
from tests.small import small


@pytest.fixture(scope="module")
def photos():
    return make_inspection_images(40, 12, 24, image_size=96, max_angle=10, max_shift=7, random_state=1)


@pytest.fixture(scope="module")
def detector(photos):
    return small(image_size=96, align=PartAligner(max_angle=20)).fit(photos.X_train)


def test_parts_that_move_are_told_apart_once_they_are_aligned(detector, photos):
    y = photos.y_test == -1
    as_they_lie = small(image_size=96).fit(photos.X_train)
    before, after = (roc_auc_score(y, -each.score_samples(photos.X_test)) for each in (as_they_lie, detector))
    assert after > 0.9
    assert after > before + 0.2


def test_every_way_to_ask_says_the_same(detector, photos):
    found = detector.inspect(photos.X_test, maps=True, masks=True, regions=True, checks=True)
    assert_array_equal(found.scores, -detector.score_samples(photos.X_test))
    assert_array_equal(found.labels, detector.predict(photos.X_test))
    assert_array_equal(np.stack([one.map for one in found]), detector.anomaly_map(photos.X_test))
    assert_array_equal(np.stack([one.mask for one in found]), detector.segment(photos.X_test))
    assert_array_equal([one.mask.any() for one in found], found.labels == -1)
    assert all(one.regions[0].peak == one.score for one in found if one.is_anomaly)
    assert all(bool(one.regions) == one.is_anomaly for one in found)


def test_maps_lie_where_the_photo_shows_the_defect(photos):
    # Trained features, which find defects where they are.
    detector = PaDiMDetector(image_size=96, align=PartAligner(max_angle=20)).fit(photos.X_train)
    large = np.kron(photos.X_test, np.ones((1, 2, 2, 1), dtype=np.uint8))
    masks = np.kron(photos.masks_test, np.ones((1, 2, 2), dtype=bool))
    found = detector.inspect(large, maps=True, original_size=True)
    assert all(one.map.shape == (192, 192) for one in found)
    loud = found.scores > found.scores[photos.y_test == 1].max()
    assert loud.sum() > 8
    near = [masks[one.index][_around(np.nan_to_num(one.map))].any() for one in found if loud[one.index]]
    assert np.mean(near) > 0.9


def _around(anomaly_map, margin=10):
    row, column = np.unravel_index(anomaly_map.argmax(), anomaly_map.shape)
    return slice(max(0, row - margin), row + margin), slice(max(0, column - margin), column + margin)


def test_what_nobody_looked_at_is_nan(detector, photos):
    maps = detector.anomaly_map(photos.X_test, original_size=True)
    places = detector.pipeline_.named_steps["features"].aligner_.locate(photos.X_test)
    for seen, place in zip(maps, places, strict=True):
        down = place.shift[0]
        if abs(down) > 3:  # What the photo shows beyond the template is its first rows, or its last.
            assert np.isnan(seen[0 if down > 0 else -1, 44:52]).all()
        assert np.isfinite(seen[40:-40, 40:-40]).all()


def test_a_part_that_is_nowhere_is_told(detector, photos):
    X = np.concatenate([photos.X_test[:3], np.repeat(textures(1)[..., None], 3, axis=3)])
    checks = detector.check(X)
    assert ["fit" in check.outside for check in checks] == [False, False, False, True]
    fit = checks[-1].outside["fit"]
    assert fit.value < fit.low < checks[0].values["fit"] <= fit.high == 1
    assert "fit" in str(checks[-1])
    assert detector.predict(X)[-1] == -1


def test_blank_photos_have_a_score_and_no_fit(detector):
    blank = np.full((1, 96, 96, 3), 60, dtype=np.uint8)
    assert np.isfinite(detector.score_samples(blank)).all()
    assert detector.check(blank)[0].values["fit"] == 0


def test_without_it_nothing_is_aligned_or_told(photos):
    plain = small(image_size=96, false_alarm_rate=0.2).fit(photos.X_train[:10])
    assert plain.pipeline_.named_steps["features"].aligner_ is None
    assert "fit" not in plain.check(photos.X_test[:1])[0].values


def test_auto_takes_still_parts_as_they_lie(photos):
    still = make_inspection_images(20, 2, 2, image_size=96)
    auto = small(image_size=96, align="auto", random_state=0).fit(still.X_train)
    assert auto.pipeline_.named_steps["features"].aligner_ is None
    plain = small(image_size=96, random_state=0).fit(still.X_train)
    assert_array_equal(auto.score_samples(still.X_test), plain.score_samples(still.X_test))
    moves = small(image_size=96, align="auto").fit(photos.X_train)
    assert moves.pipeline_.named_steps["features"].aligner_.motion == "rigid"


def test_results_depend_on_batches_and_memory_to_rounding_only(detector, photos, tmp_path):
    kept = small(image_size=96, align=PartAligner(max_angle=20), batch_size=7, memory=str(tmp_path)).fit(
        photos.X_train
    )
    expected = detector.score_samples(photos.X_test)
    assert_allclose(kept.loo_scores_, detector.loo_scores_, rtol=1e-3)
    assert_allclose(kept.score_samples(photos.X_test), expected, rtol=1e-3)
    recalled = kept.inspect(photos.X_test, maps=True, checks=True)
    assert_allclose(recalled.scores, -expected, rtol=1e-3)
    assert_allclose(recalled[3].map, detector.anomaly_map(photos.X_test)[3], rtol=1e-3, atol=1e-3)
    fits = [check.values["fit"] for check in detector.check(photos.X_test)]
    assert_allclose([one.check.values["fit"] for one in recalled], fits, rtol=1e-5)


def test_features_of_other_places_are_not_recalled(photos, tmp_path):
    common = {"image_size": 96, "memory": str(tmp_path), "false_alarm_rate": 0.2}
    plain = small(**common).fit(photos.X_train[:12])
    before = plain.score_samples(photos.X_test)
    small(**common, align="rigid").fit(photos.X_train[:12]).score_samples(photos.X_test)
    assert_array_equal(plain.score_samples(photos.X_test), before)


def test_files_of_it_score_as_it_did(detector, photos):
    expected = detector.score_samples(photos.X_test[:4])
    file = io.BytesIO()
    joblib.dump(detector, file)
    assert_array_equal(joblib.load(io.BytesIO(file.getvalue())).score_samples(photos.X_test[:4]), expected)
    skops = pytest.importorskip("skops.io")
    loaded = skops.loads(skops.dumps(detector), trusted=TRUSTED_TYPES)
    assert_array_equal(loaded.score_samples(photos.X_test[:4]), expected)


def test_no_file_for_other_engines_is_written(detector):
    with pytest.raises(ValueError, match="cannot be exported: a file takes photos as they lie"):
        refuse_what_files_cannot(detector)


def test_what_is_ignored_lies_in_aligned_photos(photos):
    mask = np.zeros((96, 96), bool)
    mask[:, 60:] = True
    masked = small(image_size=96, align=PartAligner(max_angle=20), ignore=mask).fit(photos.X_train)
    features = masked.pipeline_.named_steps["features"]
    assert features.ignored_[:, 60:].all()
    assert not features.ignored_[40:60, 40:56].any()
    _, across = features.aligner_.locate(photos.X_test[:1])[0].shift
    seen = masked.anomaly_map(photos.X_test[:1], original_size=True)[0]
    assert (np.nan_to_num(seen[40:56, int(62 + across + 9) :]) == 0).all()


def test_a_crop_and_another_shape_go_with_it():
    X, _ = parts(20, 96, max_angle=10, max_shift=5)
    wide = [np.pad(photo, ((0, 0), (16, 16), (0, 0)), mode="edge") for photo in X]
    fitted = small(image_size=(72, 96), crop_size=(48, 64), align="rigid").fit(wide)
    maps = fitted.anomaly_map(wide, original_size=True)
    assert fitted.anomaly_map(wide).shape == (20, 48, 64)
    assert all(single.shape == (96, 128) for single in maps)
    assert all(np.isnan(single[[0, 0, -1, -1], [0, -1, 0, -1]]).all() for single in maps)
    assert all(np.isfinite(single[40:56, 48:80]).all() for single in maps)


def test_one_template_serves_all_parts_of_a_fit(photos):
    X = photos.X_train
    aligner = PartAligner(max_angle=20).fit(X[:20])
    frozen = {"image_size": 96, "align": FrozenEstimator(aligner)}
    whole = small(**frozen).fit(X)
    expected = whole.score_samples(photos.X_test)
    assert whole.pipeline_.named_steps["features"].aligner_ is aligner
    assert_allclose(
        small(**frozen).fit(photo for photo in X).score_samples(photos.X_test), expected, rtol=1e-3
    )
    parts_of_it = [small(**frozen).partial_fit(X[:25]), small(**frozen).partial_fit(X[25:])]
    joined = merge(parts_of_it)
    assert_allclose(joined.score_samples(photos.X_test), expected, rtol=1e-3)
    assert_allclose(joined.loo_scores_, whole.loo_scores_, rtol=1e-3)
    one_by_one = small(**frozen, n_jobs=2).fit(X)
    assert_allclose(one_by_one.loo_scores_, whole.loo_scores_, rtol=1e-3)
    maps = one_by_one.anomaly_map(photos.X_test)
    assert_allclose(maps, whole.anomaly_map(photos.X_test), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("way", ["one fit", "two jobs", "merged", "recalled"])
def test_groups_are_left_out_of_what_is_aligned(way, photos, tmp_path):
    X, groups = photos.X_train, np.arange(40) // 8
    common = {"image_size": 96, "align": FrozenEstimator(PartAligner(max_angle=20).fit(X))}
    if way == "merged":
        days = [groups < 2, groups >= 2]
        fitted = merge([small(**common).partial_fit(X[day], groups=groups[day]) for day in days])
    else:
        how = {"two jobs": {"n_jobs": 2, "batch_size": 4}, "recalled": {"memory": str(tmp_path)}}
        if way == "recalled":
            small(**common, memory=str(tmp_path)).fit(X)
        with joblib.parallel_config("threading"):
            fitted = small(**common, **how.get(way, {})).fit(X, groups=groups)
    expected = np.empty(40)
    for group in range(5):
        others = small(**common).fit(X[groups != group])
        expected[groups == group] = -others.score_samples(X[groups == group])
        features = others.pipeline_.named_steps["features"]
        assert_array_equal(features.ignored_, fitted.pipeline_.named_steps["features"].ignored_)
    hidden = np.isnan(fitted.anomaly_map(X, original_size=True)[0]).any()
    assert hidden, "some of a photo lies beyond the template"
    assert_allclose(fitted.loo_scores_[np.argsort(fitted.loo_indices_)], expected, rtol=1e-4)
    alone = small(**common).fit(X).loo_scores_
    assert np.abs(alone - expected).max() > 1e-3 * expected.max()


def test_what_grows_goes_on_by_its_first_template(photos):
    X = photos.X_train
    growing = small(image_size=96, align=PartAligner(max_angle=20)).partial_fit(X[:20]).partial_fit(X[20:])
    first = PartAligner(max_angle=20).fit(X[:20])
    expected = small(image_size=96, align=FrozenEstimator(first)).fit(X).score_samples(photos.X_test)
    assert_allclose(growing.score_samples(photos.X_test), expected, rtol=1e-3)
    growing.forget(X[30:])
    left = small(image_size=96, align=FrozenEstimator(first)).fit(X[:30])
    assert_allclose(growing.loo_scores_, left.loo_scores_, rtol=1e-3)


def test_parts_of_other_templates_are_not_merged(photos):
    parts_of_it = [small(image_size=96, align="rigid").partial_fit(X) for X in np.split(photos.X_train, 2)]
    with pytest.raises(ValueError, match="another align"):
        merge(parts_of_it)


@pytest.mark.parametrize("way", ["here", "two jobs", "an iterator", "features alone"])
def test_a_template_of_parts_that_were_turned_is_told(way):
    X, _ = parts(20, max_angle=8, max_shift=5)
    turned = PartAligner(max_angle=20).fit(np.rot90(X, axes=(1, 2)))
    frozen = {"image_size": 96, "align": FrozenEstimator(turned)}
    learner = small(**frozen, n_jobs=2 if way == "two jobs" else None)
    if way == "features alone":
        learner = CNNFeatureTransformer("resnet18", layers=("layer1",), weights=None, **frozen)
    count = "of 20 images in X, the first: X.0. fits by 0.* fit the PartAligner on photos like these"
    with pytest.warns(UserWarning, match=f"align: the part was not found in 20 {count}"):
        if way == "features alone":
            learner.fit_transform(X)
        else:
            learner.fit(iter(X) if way == "an iterator" else X)
    if way == "here":
        assert all("fit" in check.outside for check in learner.check(X[:3]))


def test_of_two_parts_a_photo_says_that_it_is_no_photo_of_one():
    def photo(seed, shift, angle):
        return part(96, angle=angle, shift=shift, scale=0.45, seed=seed)

    moves = np.random.default_rng(3).uniform(-1, 1, (30, 3)) * [10, 6, 14]
    fitted = small(image_size=96, align="rigid").fit([photo(i, m[1:], m[0]) for i, m in enumerate(moves)])
    both = np.maximum(photo(90, (-20, -14), 5), photo(91, (20, 14), -5))
    (check,) = fitted.check([both])
    assert "fit" in check.outside
    assert fitted.predict([both]) == [-1]


def test_photos_that_come_once_are_no_template(photos):
    with pytest.raises(ValueError, match="FrozenEstimator"):
        small(image_size=96, align="rigid").fit(photo for photo in photos.X_train)
    with pytest.raises(TypeError, match="frozen PatchGaussian"):
        small(image_size=96, align=FrozenEstimator(PatchGaussian())).fit(photos.X_train)
    with pytest.raises(NotFittedError):
        small(image_size=96, align=FrozenEstimator(PartAligner())).fit(photos.X_train)


def test_leave_one_out_scores_see_what_was_hidden():
    import torch

    rng = np.random.default_rng(0)
    level = torch.from_numpy(rng.normal(size=(30, 4, 6, 6)).astype(np.float32))
    level[7, :, 0, 0] = 50  # as nonsense outside of the photo would be
    hidden = torch.zeros(30, 6, 6, dtype=torch.bool)
    hidden[7, 0, 0] = True

    def fit(*extra):
        gaussian = PatchGaussian(sigma=0)
        return gaussian.fit_stream(
            [[level[:20], *(e[:20] for e in extra)], [level[20:], *(e[20:] for e in extra)]], (6, 6)
        )

    shown, told = fit(), fit(hidden)
    assert_allclose(np.delete(told.loo_scores_, 7), np.delete(shown.loo_scores_, 7), rtol=1e-5)
    assert shown.loo_scores_[7] > 10 * told.loo_scores_[7]


@pytest.mark.parametrize("align", ["turn", 3, PatchGaussian()])
def test_what_is_no_alignment_is_refused(align, photos):
    with pytest.raises(ValueError, match="align"):
        small(image_size=96, align=align).fit(photos.X_train)


def test_where_nothing_is_seen_in_enough_photos_is_refused(photos):
    mask = np.ones((96, 96), bool)
    mask[:4, :4] = False  # a corner, which turned photos hide
    with pytest.raises(ValueError, match="align: no place"):
        small(image_size=96, align="rigid", ignore=mask).fit(photos.X_train)

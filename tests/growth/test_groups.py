"""Scores of a group against the Gaussians of all others, as refitting without it gives them."""

from __future__ import annotations

from collections import deque

import joblib
import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import plain
import skpadim
from skpadim import PatchGaussian
from skpadim.datasets import make_inspection_images
from skpadim.growth.groups import check_groups
from small import small

SHAPES = [(6, 2, 2), (4, 4, 4)]
SIZE = (16, 16)


def draw(n_images, seed=0):
    return plain.draw_pyramid(n_images, SHAPES, seed=seed, image_size=SIZE)


def gaussian(**params):
    return PatchGaussian(**({"epsilon": 0.01, "false_alarm_rate": 0.2} | params))


def learner(**params):
    return small(**({"false_alarm_rate": 0.2} | params))


def scores_without(pyramid, members, chosen, epsilon):
    """Return the anomaly scores of images by plain Gaussians of all but some images."""
    embedding = plain.embedding(pyramid.levels)
    distances = plain.distances(np.delete(embedding, members, axis=0), embedding[chosen], epsilon)
    return plain.maps(distances, SIZE).max(axis=(1, 2))


def by_definition(pyramid, groups, epsilon):
    scores = np.empty(len(pyramid))
    for label in set(groups):
        members = [place for place, other in enumerate(groups) if other == label]
        scores[members] = scores_without(pyramid, members, members, epsilon)
    return scores


def steps_of(detector, photos):
    """Return the features that a fitted detector's Gaussian has learned from."""
    return detector.pipeline_[:2].transform(photos)


@pytest.mark.parametrize(
    "groups",
    [
        np.repeat([3, 1, 2], 10),
        [["mon", "tue", "wed", "thu"][place % 4] for place in range(30)],
        np.array(["2026-01-05", "2026-01-06", "2026-01-07"], dtype="datetime64[D]")[np.arange(30) % 3],
        [*range(25), *[7.0] * 5],
    ],
    ids=["larger than channels", "words", "dates", "nearly all alone"],
)
@pytest.mark.parametrize("epsilon", [0.01, "auto"])
def test_scores_are_those_of_refitting_without_the_group(groups, epsilon):
    pyramid = draw(30)
    fitted = gaussian(epsilon=epsilon).fit(pyramid, groups=groups)
    assert_array_equal(fitted.loo_indices_, range(30))
    expected = by_definition(pyramid, list(groups), fitted.epsilon_)
    assert_allclose(fitted.loo_scores_, expected, rtol=1e-4)


def test_groups_decide_scores_and_threshold_alone():
    pyramid, groups = draw(40), np.arange(40) // 8
    alone, grouped = gaussian().fit(pyramid), gaussian().fit(pyramid, groups=groups)
    for one, other in zip(alone.whitening_, grouped.whitening_, strict=True):
        assert_array_equal(one, other)
    assert_array_equal(alone.score_samples(draw(3, 1)), grouped.score_samples(draw(3, 1)))
    assert grouped.offset_ < alone.offset_
    each = gaussian().fit(pyramid, groups=np.arange(40))
    assert_array_equal(each.loo_scores_, alone.loo_scores_)


def test_each_image_is_left_out_alone_as_well():
    pyramid, groups = draw(30), np.repeat([0, 1, 2], 10)
    found = gaussian().fit(pyramid, groups=groups)
    expected = gaussian().fit(pyramid)
    assert_allclose(found.alone_scores_, expected.loo_scores_, rtol=1e-12)
    assert (found.loo_scores_ > found.alone_scores_).mean() > 0.9, "fewer are left to learn from"
    assert expected.alone_scores_ is None
    grown = (
        gaussian().partial_fit(pyramid[:12], groups=groups[:12]).partial_fit(pyramid[12:], groups=groups[12:])
    )
    assert_allclose(grown.alone_scores_, expected.loo_scores_, rtol=1e-9)


def test_scores_too_good_to_be_true_are_lower_than_any_left_out_alone(photos):
    """Photos of days that were learned are as good as those of others, and score lower."""
    by_groups, alone = (learner().fit(photos.X_train, groups=groups) for groups in (np.arange(30) % 2, None))
    assert by_groups.n_groups_ == 2 and alone.n_groups_ is None
    lowest = by_groups.pipeline_[-1].alone_scores_.min()
    assert lowest == pytest.approx(alone.loo_scores_.min(), rel=1e-6)
    assert by_groups.loo_scores_.min() > 1.02 * lowest
    assert_allclose(by_groups._photo_checker(0.01)._score_range, (lowest, np.inf))


def test_copies_go_with_each_photo_that_is_left_out_alone(photos):
    X = photos.X_train.copy()
    X[[7, 21]] = X[0]  # of the same group, and of another
    with pytest.warns(UserWarning, match="copies"):
        alone = learner().fit(X)
    with pytest.warns(UserWarning, match="copies"):
        by_groups = learner().fit(X, groups=np.arange(30) // 10)
    assert_allclose(by_groups.pipeline_[-1].alone_scores_, alone.loo_scores_, rtol=1e-6)


def test_good_photos_are_as_rarely_too_good_with_groups():
    drawn = make_inspection_images(n_train=40, n_good=40, n_defective=0, image_size=64)
    detector = learner(n_channels=20).fit(drawn.X_train, groups=np.arange(40) // 20)
    checks = detector.check(drawn.X_test, false_alarm_rate=0.05)
    assert np.mean(["score" in check.outside for check in checks]) <= 0.15


def test_the_sample_holds_whole_groups():
    pyramid, groups = draw(60), np.repeat(np.arange(12), 5)
    expected = by_definition(pyramid, groups.tolist(), 0.01)
    drawn = set()
    for seed in range(8):
        fitted = gaussian(n_calibration=23, random_state=seed).fit(pyramid, groups=groups)
        assert len(fitted.loo_indices_) == 20
        chosen, counts = np.unique(groups[fitted.loo_indices_], return_counts=True)
        assert counts.tolist() == [5] * 4
        assert_allclose(fitted.loo_scores_, expected[fitted.loo_indices_], rtol=1e-4)
        drawn.add(tuple(chosen))
    assert len(drawn) > 4, "other seeds, other groups"


def test_a_detector_leaves_groups_out(photos):
    groups = np.arange(30) % 5
    detector = learner(n_calibration=20).fit(photos.X_train, groups=groups)
    assert len(detector.loo_indices_) == 18
    pyramid = steps_of(detector, photos.X_train)
    embedding = plain.embedding(pyramid.levels)
    for index, score in zip(detector.loo_indices_, detector.loo_scores_, strict=True):
        others = embedding[groups != groups[index]]
        distances = plain.distances(others, embedding[[index]], 0.01)
        assert score == pytest.approx(plain.maps(distances, (64, 64)).max(), rel=1e-4)


def test_photos_that_cannot_be_read_are_in_no_group(photos, tmp_path):
    paths = [tmp_path / f"{index}.png" for index in range(12)]
    for path, photo in zip(paths, photos.X_train, strict=False):
        Image.fromarray(photo).save(path)
    paths[4].write_bytes(b"no photo")
    groups, read = np.arange(12) // 4, np.delete(np.arange(12), 4)
    with pytest.warns(UserWarning, match="1 of 12 images"):
        detector = learner(on_error="skip").fit(paths, groups=groups)
    expected = learner().fit(photos.X_train[read], groups=groups[read])
    assert_array_equal(detector.loo_indices_, read)
    assert_allclose(detector.loo_scores_, expected.loo_scores_, rtol=1e-5)


def test_copies_are_a_group_of_their_own(photos):
    doubled = np.concatenate([photos.X_train, photos.X_train[[4, 7, 4]]])
    with pytest.warns(UserWarning, match="3 of 33 images in X are exact copies.*left out together"):
        detector = learner().fit(doubled)
    names = [*range(30), 4, 7, 4]
    grouped = learner().fit(doubled, groups=names)
    assert_allclose(detector.loo_scores_, grouped.loo_scores_, rtol=1e-5)
    pyramid = steps_of(detector, doubled)
    embedding = plain.embedding(pyramid.levels)
    distances = plain.distances(np.delete(embedding, [4, 30, 32], axis=0), embedding[[4]], 0.01)
    assert detector.loo_scores_[4] == pytest.approx(plain.maps(distances, (64, 64)).max(), rel=1e-4)


def test_the_sample_may_hold_some_copies_of_a_photo(photos):
    X = np.concatenate([photos.X_train, np.repeat(photos.X_train[:1], 30, axis=0)])
    for seed in range(20):
        with pytest.warns(UserWarning, match="exact copies"):
            part = learner(n_calibration=25, random_state=seed, n_channels=None).fit(X)
        n_copies = np.isin(part.loo_indices_, [0, *range(30, 60)]).sum()
        if 0 < n_copies < 31:
            break
    else:
        pytest.fail("no sample held some of the copies, and not all")
    with pytest.warns(UserWarning, match="exact copies"):
        whole = learner(random_state=seed, n_channels=None).fit(X)
    assert len(part.loo_scores_) == 25
    assert_allclose(part.loo_scores_, whole.loo_scores_[part.loo_indices_], rtol=1e-5)


def test_copies_in_other_groups_are_told(photos):
    X = photos.X_train[[*range(12), 3]]
    with pytest.warns(UserWarning, match="1 of 13 images in X are exact copies of images of other groups"):
        learner().fit(X, groups=np.arange(13) // 4)
    learner().fit(X, groups=[*(np.arange(12) // 4), 0])  # no warning, which were an error


def test_copies_that_leave_no_covariance_are_refused(photos):
    with pytest.raises(ValueError, match=r"3 copies of X\[0\] among 4 images: .* at least 2 others"):
        learner().fit(photos.X_train[[0, 0, 0, 1]])


BAD = [
    ([1] * 5, r"groups has the shape \(5,\), and X 6 image\(s\): pass one label per image"),
    (np.zeros((6, 1)), r"groups has the shape \(6, 1\)"),
    ("day", r"groups has the shape \(\)"),
    ([[1], [2, 3], 4, 5, 6, 7], "groups is no array of labels"),
    ([1, 2, None, 1, 2, 1], r"groups\[2\] is None: every image needs a label"),
    ([1, 2, 1, 1, np.nan, 1], r"groups\[4\] is .*nan"),
    (np.array(["2026-01-05"] * 5 + ["NaT"], "datetime64[D]"), r"groups\[5\] is .*NaT"),
    (["a"] * 6, "all 6 images are of one group, 'a'"),
    (list("aaaabb"), "without the 4 images of the group 'a', 2 are left"),
]


@pytest.mark.parametrize(("groups", "message"), BAD)
def test_bad_groups_are_refused_before_anything_is_learned(groups, message, photos):
    fitted = gaussian().fit(draw(9))
    before = fitted.offset_
    with pytest.raises(ValueError, match=message) as raised:
        fitted.fit(draw(6), groups=groups)
    assert raised.type is ValueError, "and not that more images are awaited"
    assert fitted.offset_ == before
    detector = learner(backbone="resnet18", weights="/no such file")  # which the network would be read from
    with pytest.raises(ValueError, match=message):
        detector.fit(photos.X_train[:6], groups=groups)


@pytest.mark.parametrize("missing", [float("nan"), np.float32("nan"), None, np.datetime64("NaT")])
@pytest.mark.parametrize("kind", [list, tuple, deque])
def test_a_missing_label_among_words_is_refused(missing, kind):
    with pytest.raises(ValueError, match=r"groups\[1\] is .*: every image needs a label"):
        check_groups(kind(["mon", missing, "tue"]), 3)


def test_words_that_say_missing_are_labels():
    assert check_groups(["nan", "None", "nan"], 3).largest() == 2
    assert check_groups([1, "1", "2"], 3).largest() == 2


def test_a_label_of_pandas_that_is_missing_is_refused():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=r"groups\[1\] is <NA>"):
        gaussian().fit(draw(6), groups=pandas.array(["a", None, "b", "b", "a", "a"], dtype="string"))


def test_the_largest_group_counts_photos_before():
    before = check_groups(["a", "b", "b", "c"], 4)
    assert before.largest() == 2
    names = b"".join(before.names)
    assert check_groups(["b", "a"], 2).largest(names) == 3
    assert check_groups(None, 5).largest() == 1


def test_groups_count_in_what_a_fit_is_said_to_need(photos, monkeypatch):
    asked = []
    monkeypatch.setattr("skpadim.detector.check_room", lambda plan, *_, **__: asked.append(plan))
    groups = np.repeat([0, 1, 2], [5, 7, 18])
    learner().fit(photos.X_train, groups=groups)
    grown = learner().partial_fit(photos.X_train[:20], groups=groups[:20])
    grown.partial_fit(photos.X_train[20:], groups=groups[20:])
    learner().fit(photos.X_train)
    assert [plan.largest_group for plan in asked] == [18, 8, 18, 1]


def test_groups_beyond_the_sample_are_refused():
    groups = np.repeat(["a", "b", "c"], [12, 10, 8])
    with pytest.raises(ValueError, match=r"the group 'a' has 12 images, and n_calibration=11 .* 12 or more"):
        gaussian(n_calibration=11).fit(draw(30), groups=groups)
    with pytest.raises(ValueError, match=r"12 images hold 1 whole group\(s\) of 3, .*n_calibration to 22"):
        gaussian(n_calibration=12).fit(draw(30), groups=groups)
    assert len(gaussian(n_calibration=22).fit(draw(30), groups=groups).loo_scores_) in (18, 20, 22)


def test_too_few_groups_once_photos_are_skipped(photos, tmp_path):
    paths = [tmp_path / f"{index}.png" for index in range(6)]
    for path, photo in zip(paths, photos.X_train, strict=False):
        Image.fromarray(photo).save(path)
    for path in paths[:3]:
        path.write_bytes(b"no photo")
    detector = learner(on_error="skip")
    with (
        pytest.warns(UserWarning, match="3 of 6 images"),
        pytest.raises(ValueError, match=r"all 3 images are of one group, of X\[3\] \('.*3\.png'\)") as raised,
    ):
        detector.fit(paths, groups=list("aaabbb"))
    assert raised.type is ValueError, "and not that more photos are awaited"
    assert not hasattr(detector, "pipeline_")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_growing_by_groups_equals_one_fit(photos, order):
    X, groups = photos.X_train, np.arange(30) // 6
    parts = [[0, 1, 2, 3, 8, 9, 25], [4, 5, 6, 7, *range(10, 20)], [*range(20, 25), *range(26, 30)]]
    grown = learner(n_calibration=20)
    for part in order:
        grown.partial_fit(X[parts[part]], groups=groups[parts[part]])
    given = np.concatenate([parts[part] for part in order])
    whole = learner(n_calibration=20).fit(X, groups=groups)
    assert len(grown.loo_indices_) == 18
    assert sorted(given[grown.loo_indices_]) == whole.loo_indices_.tolist()
    by_photo = dict(zip(given[grown.loo_indices_], grown.loo_scores_, strict=True))
    found = [by_photo[index] for index in whole.loo_indices_]
    assert_allclose(found, whole.loo_scores_, rtol=1e-5)


def test_merging_forgetting_and_files_keep_groups(photos, tmp_path):
    X, groups = photos.X_train, np.arange(30) % 4
    expected = learner().fit(X[:24], groups=groups[:24])
    one, other = (learner().partial_fit(X[part], groups=groups[part]) for part in (slice(10), slice(10, 30)))
    merged = skpadim.merge([one, other])
    merged.save_growth(tmp_path / "growth.npz")
    again = learner().load_growth(tmp_path / "growth.npz").forget(X[24:])
    assert_allclose(again.loo_scores_, expected.loo_scores_, rtol=1e-4)
    with pytest.raises(ValueError, match="photos before came with groups, and these come without"):
        again.partial_fit(X[24:])
    assert_allclose(again.loo_scores_, expected.loo_scores_, rtol=1e-4)
    with pytest.raises(ValueError, match="photos of some came with groups, and those of others without"):
        skpadim.merge([one, learner().partial_fit(X[10:])])


def test_a_gaussian_grows_by_groups():
    pyramid, groups = draw(24), np.arange(24) % 4
    grown = gaussian()
    for part in (range(5), range(5, 24)):
        grown.partial_fit(pyramid[list(part)], groups=groups[list(part)])
    assert_allclose(grown.loo_scores_, by_definition(pyramid, groups.tolist(), 0.01), rtol=1e-4)
    with pytest.raises(ValueError, match="photos before came with groups"):
        grown.partial_fit(draw(2, 1))


def test_growing_beyond_the_sample_is_refused_where_it_happens():
    grown = gaussian(n_calibration=8).partial_fit(draw(10), groups=list("aaaaaabbbb"))
    with pytest.raises(ValueError, match="the group 'a' has 9 images by now, and n_calibration=8"):
        grown.partial_fit(draw(4, 1), groups=list("caaa"))
    grown.partial_fit(draw(4, 1), groups=list("caab"))
    with pytest.raises(NotFittedError, match=r"all 4 images are of one group, of X\[0\]"):
        gaussian().partial_fit(draw(4), groups=list("aaaa")).offset_  # noqa: B018


def test_pipelines_and_searches_hand_groups_on():
    pyramid, groups = draw(24), np.arange(24) % 4
    expected = gaussian().fit(pyramid, groups=groups).loo_scores_
    pipeline = Pipeline([("as it is", FunctionTransformer()), ("gaussian", gaussian())])
    assert_array_equal(pipeline.fit(pyramid, gaussian__groups=groups)[-1].loo_scores_, expected)
    rows = plain.embedding(pyramid.levels)[:, :, 0, 0]

    def score(fitted, X, y=None):
        return float(fitted.score_samples(X).mean())

    # Without routing, groups are those of the splitter alone, as in all of scikit-learn.
    grid = {"epsilon": [0.01, 0.1]}
    plain_search = GridSearchCV(gaussian(), grid, scoring=score, cv=GroupKFold(4)).fit(rows, groups=groups)
    refitted = gaussian(**plain_search.best_params_)
    assert_array_equal(plain_search.best_estimator_.loo_scores_, clone(refitted).fit(rows).loo_scores_)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = gaussian().set_fit_request(groups=True)
        search = GridSearchCV(asking, grid, scoring=score, cv=GroupKFold(4)).fit(rows, groups=groups)
    grouped = clone(refitted).fit(rows, groups=groups).loo_scores_
    assert search.best_params_ == plain_search.best_params_
    assert_array_equal(search.best_estimator_.loo_scores_, grouped)
    assert_array_equal(gaussian().fit_predict(rows, groups=groups).shape, (24,))


def test_precisions_that_need_groups_again_are_refused(photos, tmp_path):
    pytest.importorskip("onnx")
    from skpadim.export import to_onnx

    detector = learner().fit(photos.X_train, groups=np.arange(30) % 5)
    assert detector.pipeline_[-1].n_groups_ == 5
    assert learner().fit(photos.X_train).pipeline_[-1].n_groups_ is None
    with pytest.raises(ValueError, match="calibrated with groups, which it does not keep"):
        to_onnx(detector, tmp_path / "half.onnx", precision="float16", photos=photos.X_train)


def test_jobs_share_groups_out(photos):
    X, groups = photos.X_train, np.arange(30) % 4
    expected = learner(n_calibration=20, batch_size=4).fit(X, groups=groups)
    shared = learner(n_calibration=20, batch_size=4, n_jobs=2)
    with joblib.parallel_config("threading"):
        shared.fit(X, groups=groups)
    assert_array_equal(shared.loo_indices_, expected.loo_indices_)
    assert_allclose(shared.loo_scores_, expected.loo_scores_, rtol=1e-5)


def test_groups_of_an_iterator_are_refused(photos):
    with pytest.raises(ValueError, match="X is an iterator or a bag"):
        learner().fit(iter(photos.X_train), groups=np.arange(30) % 4)


def test_a_checkpoint_of_other_groups_is_refused(photos, tmp_path, monkeypatch):
    X, groups = photos.X_train, np.arange(30) % 3
    params = {"batch_size": 8}
    detector = learner(**params, checkpoint=tmp_path, checkpoint_every=1)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("skpadim.growth.factors.factor_and_leave_one_out", killed)
        with pytest.raises(KeyboardInterrupt):
            detector.fit(X, groups=groups)
    with pytest.raises(ValueError, match="other photos or groups"):
        detector.fit(X, groups=groups[::-1])
    expected = learner(**params).fit(X, groups=groups)
    assert_array_equal(detector.fit(X, groups=groups).loo_scores_, expected.loo_scores_)

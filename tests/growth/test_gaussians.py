"""A Gaussian that grows call by call equals one fit, and the definition."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from plain import distances, draw_pyramid, embedding, maps
from skpadim import PatchGaussian
from small import small

SHAPES = [(3, 6, 6), (4, 3, 3)]
PYRAMID = draw_pyramid(24, SHAPES, image_size=(24, 24), dtype=np.float64)
NEW = draw_pyramid(5, SHAPES, image_size=(24, 24), dtype=np.float64, seed=1)
LEARNED = ("location_", "whitening_", "epsilon_", "loo_scores_", "loo_indices_", "offset_")


def grown(parts, **params):
    gaussian = PatchGaussian(**({"epsilon": 0.01} | params))
    for part in parts:
        gaussian.partial_fit(part)
    return gaussian


def assert_same(one, other):
    assert_allclose(one.mahalanobis(NEW), other.mahalanobis(NEW), rtol=1e-9)
    assert_allclose(one.anomaly_map(NEW), other.anomaly_map(NEW), rtol=1e-9)
    assert_allclose(one.score_samples(NEW), other.score_samples(NEW), rtol=1e-9)
    assert_allclose(one.loo_scores_, other.loo_scores_, rtol=1e-9)
    assert_array_equal(one.loo_indices_, other.loo_indices_)
    assert_allclose([one.offset_, one.epsilon_], [other.offset_, other.epsilon_], rtol=1e-9)
    assert one.n_samples_seen_ == other.n_samples_seen_


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 23), max_size=6), st.sampled_from([5, 500]))
@example([1, 2, 3], 5)
def test_any_split_into_calls_equals_one_fit(cuts, n_calibration):
    edges = [0, *sorted(set(cuts)), 24]
    parts = [PYRAMID[start:stop] for start, stop in pairwise(edges)]
    one = PatchGaussian(0.01, n_calibration=n_calibration, false_alarm_rate=0.3).fit(PYRAMID)
    assert_same(grown(parts, n_calibration=n_calibration, false_alarm_rate=0.3), one)


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
def test_grown_equals_the_definition():
    gaussian = grown([PYRAMID[:1], PYRAMID[1:9], PYRAMID[9:]])
    train, test = embedding(PYRAMID.levels), embedding(NEW.levels)
    expected = distances(train, test, 0.01)
    assert_allclose(gaussian.mahalanobis(NEW), expected, rtol=1e-8)
    assert_allclose(gaussian.score_samples(NEW), -maps(expected, (24, 24)).max(axis=(1, 2)), rtol=1e-4)
    left_out = [distances(np.delete(train, i, axis=0), train[[i]], 0.01)[0] for i in range(24)]
    assert_allclose(gaussian.loo_scores_, maps(np.array(left_out), (24, 24)).max(axis=(1, 2)), rtol=1e-4)


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
@pytest.mark.parametrize("name", LEARNED)
def test_nothing_is_ever_stale(name):
    def numbers(gaussian):
        value = getattr(gaussian, name)
        return np.concatenate([np.ravel(part) for part in (value if isinstance(value, list) else [value])])

    gaussian = grown([PYRAMID[:9]], epsilon="auto")
    before = numbers(gaussian)
    after = numbers(gaussian.partial_fit(PYRAMID[9:]))
    assert not np.array_equal(before, after)
    assert_allclose(after, numbers(PatchGaussian("auto").fit(PYRAMID)), rtol=1e-9)


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
def test_factors_are_made_when_they_are_asked_for(monkeypatch):
    from skpadim import gaussian as module

    calls = []
    made = module.factor_patches
    monkeypatch.setattr(module, "factor_patches", lambda *args: calls.append(1) or made(*args))
    gaussian = grown([PYRAMID[:9], PYRAMID[9:]])
    assert (gaussian.n_samples_seen_, gaussian.image_size_, gaussian.n_features_in_) == (24, (24, 24), 7)
    assert calls == []
    gaussian.score_samples(NEW)
    gaussian.predict(NEW)
    assert calls == [1]


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
def test_too_few_images_may_grow_and_not_score():
    gaussian = PatchGaussian(0.01)
    for index in range(2):
        gaussian.partial_fit(PYRAMID[index])
        with pytest.raises(NotFittedError, match=rf"n_samples={index + 1} image\(s\), but at least 3"):
            gaussian.score_samples(NEW)
        assert not hasattr(gaussian, "loo_scores_")
    assert len(gaussian.partial_fit(PYRAMID[2]).loo_scores_) == 3


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
def test_what_cannot_be_learned_leaves_all_as_it_was():
    gaussian = grown([PYRAMID[:9]])
    gaussian.score_samples(NEW)
    before, carried = dict(vars(gaussian)), gaussian.growth_bytes
    bad = PYRAMID[9:]
    bad.levels[0] = bad.levels[0].copy()
    bad.levels[0][3, 0, 1, 1] = 1e200
    other = draw_pyramid(4, [(3, 6, 6), (4, 2, 2)], image_size=(24, 24), dtype=np.float64)
    single = draw_pyramid(4, SHAPES, image_size=(24, 24), dtype=np.float32)
    elsewhere = draw_pyramid(4, SHAPES, image_size=(48, 48), dtype=np.float64)
    for wrong, message in [
        (bad, "infinite"),
        (other, "levels"),
        (single, "float32"),
        (elsewhere, r"\(48, 48\)"),
        (PYRAMID[:0], "n_samples=0"),
        (PYRAMID.levels[0][:, :2], "features"),
    ]:
        with pytest.raises(ValueError, match=message):
            gaussian.partial_fit(wrong)
        assert vars(gaussian) == before
    assert gaussian.growth_bytes == carried
    assert_same(gaussian.partial_fit(PYRAMID[9:]), PatchGaussian(0.01).fit(PYRAMID))


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
def test_other_parameters_are_refused_by_name():
    gaussian = grown([PYRAMID[:9]])
    for name, value in [("epsilon", 0.5), ("sigma", 1.0), ("n_calibration", 7), ("random_state", 1)]:
        was = gaussian.get_params()[name]
        gaussian.set_params(**{name: value})
        with pytest.raises(ValueError, match=f"{name}={value!r} is not as when photos"):
            gaussian.partial_fit(PYRAMID[9:])
        gaussian.set_params(**{name: was})
    gaussian.set_params(false_alarm_rate=0.3)
    expected = PatchGaussian(0.01, false_alarm_rate=0.3).fit(PYRAMID)
    assert_same(gaussian.partial_fit(PYRAMID[9:]), expected)
    with pytest.raises(ValueError, match="sigma"):
        gaussian.set_params(sigma=-1).partial_fit(PYRAMID[:1])


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
@pytest.mark.parametrize("how", ["fit", "frozen", "pickled", "copied"])
def test_what_carries_nothing_says_so(how):
    gaussian = {
        "fit": lambda: PatchGaussian(0.01).fit(PYRAMID),
        "frozen": lambda: grown([PYRAMID]).freeze(),
        "pickled": lambda: pickle.loads(pickle.dumps(grown([PYRAMID]))),
        "copied": lambda: copy.copy(grown([PYRAMID])),
    }[how]()
    assert gaussian.growth_bytes == 0
    before = dict(vars(gaussian))
    for refused in (gaussian.partial_fit, gaussian.forget):
        with pytest.raises(ValueError, match="does not grow: it was fitted by fit, frozen, or loaded"):
            refused(NEW)
    assert vars(gaussian) == before
    assert_same(gaussian, PatchGaussian(0.01).fit(PYRAMID))


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
def test_fit_begins_anew():
    gaussian = grown([PYRAMID])
    assert gaussian.growth_bytes > 0
    assert_same(gaussian.fit(PYRAMID[:9]), PatchGaussian(0.01).fit(PYRAMID[:9]))
    assert gaussian.growth_bytes == 0


def test_what_is_carried_does_not_grow_with_the_images():
    rng = np.random.default_rng(0)
    gaussian = PatchGaussian(n_calibration=10)
    sizes = []
    for _ in range(4):
        gaussian.partial_fit(rng.normal(size=(100, 3, 4, 4)))
        sizes.append(gaussian.growth_bytes)
    # Of each image 20 bytes tell which it was.
    assert sizes[3] - sizes[2] == sizes[2] - sizes[1] == 2000
    moments = 16 * (3 + 9) * 8
    sample = 64 * 3 * 16 * 8
    assert sizes[0] == pytest.approx(moments + sample + 2000)


@settings(deadline=None, max_examples=15)
@given(st.sets(st.integers(0, 23), min_size=1, max_size=12), st.sampled_from([5, 500]))
def test_what_is_left_equals_a_fit_on_it(gone, n_calibration):
    params = {"n_calibration": n_calibration, "false_alarm_rate": 0.3}
    left = [index for index in range(24) if index not in gone]
    gaussian = grown([PYRAMID[:7], PYRAMID[7:]], **params).forget(PYRAMID[sorted(gone)])
    expected = PatchGaussian(0.01, **params).fit(PYRAMID[left])
    assert_allclose(gaussian.mahalanobis(NEW), expected.mahalanobis(NEW), rtol=1e-9)
    assert set(gaussian.loo_indices_) <= set(left)
    assert len(gaussian.loo_scores_) == min(len(left), n_calibration)
    # By place, other images would draw another sample: compare by image with one of all.
    every = PatchGaussian(0.01, n_calibration=500, false_alarm_rate=0.3).fit(PYRAMID[left])
    of = dict(zip(left, every.loo_scores_, strict=True))
    assert_allclose(gaussian.loo_scores_, [of[index] for index in gaussian.loo_indices_], rtol=1e-9)


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
def test_forgetting_and_learning_go_on():
    gaussian = grown([PYRAMID[:7], PYRAMID[7:]])
    gaussian.forget(PYRAMID[[3, 20]]).partial_fit(NEW).forget(NEW[[1, 2]])
    left = [index for index in range(24) if index not in (3, 20)]
    levels = [
        np.concatenate([a[left], b[[0, 3, 4]]]) for a, b in zip(PYRAMID.levels, NEW.levels, strict=True)
    ]
    expected = PatchGaussian(0.01).fit(type(PYRAMID)(levels, image_size=(24, 24)))
    assert_allclose(gaussian.mahalanobis(NEW), expected.mahalanobis(NEW), rtol=1e-9)
    assert_allclose(gaussian.loo_scores_, expected.loo_scores_, rtol=1e-9)
    assert gaussian.loo_indices_.tolist() == [*left, 24, 27, 28]


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
def test_what_cannot_be_forgotten_is_told():
    gaussian = grown([PYRAMID])
    before = dict(vars(gaussian))
    with pytest.raises(ValueError, match=r"2 photo\(s\) of X were never learned.*: X\[1\], X\[2\]\."):
        levels = [np.concatenate([a[:1], b[:2]]) for a, b in zip(PYRAMID.levels, NEW.levels, strict=True)]
        gaussian.forget(type(PYRAMID)(levels, image_size=(24, 24)))
    with pytest.raises(ValueError, match=r"2 photo\(s\) would be left, and at least 3 are needed"):
        gaussian.forget(PYRAMID[2:])
    with pytest.raises(NotFittedError):
        PatchGaussian().forget(PYRAMID)
    assert vars(gaussian) == before


def test_lost_digits_are_refused_and_no_others():
    rng = np.random.default_rng(0)
    good, bad = rng.normal(size=(50, 4)), rng.normal(size=(1, 4))
    for size, is_lost in [(1e3, False), (1e8, True)]:
        gaussian = PatchGaussian(0.01).partial_fit(good).partial_fit(size * bad)
        if is_lost:
            with pytest.raises(ValueError, match=r"would lose digits.*epsilon=0.01"):
                gaussian.forget(size * bad)
        else:
            expected = PatchGaussian(0.01).fit(good)
            found = gaussian.forget(size * bad)
            assert_allclose(found.score_samples(good), expected.score_samples(good), rtol=1e-6)
    with pytest.raises(ValueError, match="would lose digits"):
        PatchGaussian(0.0).partial_fit(good).partial_fit(bad).forget(bad)


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
def test_files_go_on_growing(tmp_path):
    path = tmp_path / "growth.npz"
    grown([PYRAMID[:9]]).save_growth(path)
    gaussian = PatchGaussian(0.01).load_growth(path)
    assert_same(gaussian.partial_fit(PYRAMID[9:]), PatchGaussian(0.01).fit(PYRAMID))
    for params, name in [({"epsilon": 0.5}, "epsilon"), ({"random_state": 3}, "random_state")]:
        other = clone(gaussian).set_params(**params)
        with pytest.raises(ValueError, match=f"the file has another {name}"):
            other.load_growth(path)
        assert not [each for each in vars(other) if each.endswith("_")]


def test_a_file_of_a_detector_is_refused(photos, tmp_path):
    small().partial_fit(photos.X_train).save_growth(tmp_path / "detector.npz")
    with pytest.raises(ValueError, match="the file has another estimator, PaDiMDetector"):
        PatchGaussian().load_growth(tmp_path / "detector.npz")

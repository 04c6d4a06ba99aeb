"""What survives pickling, what a file says of its format, and what a failed fit leaves behind."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from torchvision.models import get_model

from plain import draw_pyramid
from skpadim import (
    CNNFeatureTransformer,
    FeaturePyramid,
    PaDiMDetector,
    PatchGaussian,
    RandomChannelSelector,
)
from skpadim.base import state
from small import small

LAYERS = ("features.2", "features.4")


def photos(n_images, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n_images, 32, 32, 3), dtype=np.uint8)


def pyramid(n_images=12):
    return draw_pyramid(n_images, [(4, 6, 6), (5, 3, 3)], image_size=(12, 12))


def small_detector(**params):
    defaults = {"weights": None, "image_size": 32, "n_channels": 9, "false_alarm_rate": 0.2}
    return PaDiMDetector("squeezenet1_0", LAYERS, **(defaults | params))


#: Per estimator: how to fit it, and what to compare.
CASES = {
    "detector": (
        lambda: small_detector().fit(photos(12)),
        lambda fitted: [fitted.anomaly_map(photos(3, seed=1)), fitted.decision_function(photos(3, seed=1))],
    ),
    "features": (
        lambda: CNNFeatureTransformer("squeezenet1_0", layers=LAYERS, weights=None, image_size=32).fit(
            photos(2)
        ),
        lambda fitted: fitted.transform(photos(3, seed=1)).levels,
    ),
    "channels": (
        lambda: RandomChannelSelector(4).fit(pyramid()),
        lambda fitted: [fitted.channel_indices_, *fitted.transform(pyramid()).levels],
    ),
    "gaussian": (
        lambda: PatchGaussian(false_alarm_rate=0.2).fit(pyramid()),
        lambda fitted: [fitted.anomaly_map(pyramid()), fitted.decision_function(pyramid())],
    ),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def case(request):
    """Return a fitted estimator, what it gives, and how to ask for it."""
    fit, results = request.param
    fitted = fit()
    return fitted, results(fitted), results


@pytest.fixture
def gaussian():
    return PatchGaussian(false_alarm_rate=0.2).fit(pyramid())


def assert_same(results, expected):
    for found, part in zip(results, expected, strict=True):
        assert_array_equal(found, part, strict=True)


def through_pickle(estimator, _folder):
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator, folder, **how):
    path = folder / f"{len(list(folder.iterdir()))}.joblib"
    joblib.dump(estimator, path)
    return joblib.load(path, **how)


def through_memory_map(estimator, folder):
    """Load arrays as read-only views of the file."""
    return through_joblib(estimator, folder, mmap_mode="r")


def through_deepcopy(estimator, _folder):
    return copy.deepcopy(estimator)


@pytest.mark.parametrize("way", [through_pickle, through_joblib, through_memory_map, through_deepcopy])
def test_results_survive_bit_for_bit(case, way, tmp_path):
    fitted, expected, results = case
    loaded = way(fitted, tmp_path)
    assert_same(results(loaded), expected)
    assert loaded.get_params() == fitted.get_params()
    assert_same(results(way(loaded, tmp_path)), expected)
    assert_same(results(fitted), expected)


def test_unfitted_estimators_stay_unfitted(case):
    loaded = pickle.loads(pickle.dumps(clone(case[0])))
    assert loaded.get_params() == case[0].get_params()
    with pytest.raises(NotFittedError):
        check_is_fitted(loaded)


def parts_of(value):
    """Yield everything that a fitted attribute holds."""
    yield value
    if hasattr(value, "get_params"):
        value = value.__getstate__()
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list | tuple):
        for child in children:
            yield from parts_of(child)


def test_state_holds_arrays_and_plain_values_alone(case):
    kinds = {type(part).__module__.split(".")[0] for part in parts_of(case[0])}
    assert kinds <= {"builtins", "numpy", "sklearn", "skpadim"}


def test_pickling_a_detector_takes_no_more_than_its_arrays(gaussian):
    before = len(pickle.dumps(gaussian))
    gaussian.score_samples(pyramid())
    assert len(pickle.dumps(gaussian)) == before
    arrays = [*gaussian.location_, *gaussian.whitening_, gaussian.loo_scores_]
    assert before < sum(array.nbytes for array in arrays) + 5000


def test_weights_travel_in_the_file(tmp_path):
    """In a fresh process, without the weights' file, without a network, without torch's cache."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        torch.save(get_model("squeezenet1_0", weights=None).state_dict(), tmp_path / "weights.pth")
    detector = small_detector(weights=tmp_path / "weights.pth", device="cpu").fit(photos(12))
    (tmp_path / "weights.pth").unlink()
    joblib.dump(detector, tmp_path / "detector.joblib")
    np.save(tmp_path / "photos.npy", photos(3, seed=1))
    script = f"""
import socket, joblib, numpy as np, torch
def refuse(*args, **kwargs):
    raise AssertionError("no network here")
socket.socket.connect = socket.getaddrinfo = refuse
torch.set_num_threads({torch.get_num_threads()})
detector = joblib.load("detector.joblib")
np.save("maps.npy", detector.anomaly_map(np.load("photos.npy")))
"""
    environment = os.environ | {
        "TORCH_HOME": str(tmp_path / "empty"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)]),
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert_array_equal(np.load(tmp_path / "maps.npy"), detector.anomaly_map(photos(3, seed=1)))


def test_file_of_a_newer_major_version_is_refused_in_words(case, monkeypatch):
    monkeypatch.setattr(state, "FORMAT_VERSION", (7, 3))
    file = pickle.dumps(case[0])
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"saved in format 7\.3; .* up to 2\. Upgrade skpadim"):
        pickle.loads(file)


@pytest.mark.parametrize("version", [(1, 99), (0, 9)], ids=["newer minor", "older major"])
def test_files_of_other_versions_are_read(gaussian, version, monkeypatch):
    monkeypatch.setattr(state, "FORMAT_VERSION", version)
    file = pickle.dumps(gaussian)
    monkeypatch.undo()
    loaded = pickle.loads(file)
    assert_array_equal(loaded.score_samples(pyramid()), gaussian.score_samples(pyramid()))


def test_file_without_a_version_is_read(gaussian):
    old = gaussian.__getstate__()
    del old["_skpadim_format"]
    loaded = PatchGaussian.__new__(PatchGaussian)
    loaded.__setstate__(old)
    assert_array_equal(loaded.score_samples(pyramid()), gaussian.score_samples(pyramid()))


@pytest.mark.parametrize("version", ["x", None, -1, (1,), (1, "0")], ids=str)
def test_file_with_a_damaged_version_is_refused_in_words(gaussian, version):
    loaded = PatchGaussian.__new__(PatchGaussian)
    with pytest.raises(ValueError, match="PatchGaussian is damaged: its format is"):
        loaded.__setstate__(gaussian.__getstate__() | {"_skpadim_format": version})


def test_version_is_no_attribute(gaussian):
    kept = gaussian.__getstate__()
    assert kept["_skpadim_format"] == state.FORMAT_VERSION
    loaded = PatchGaussian.__new__(PatchGaussian)
    loaded.__setstate__(kept)
    assert kept["_skpadim_format"] == state.FORMAT_VERSION, "the state given is not changed"
    assert vars(loaded).keys() == vars(gaussian).keys() - {"_scorer"}


class Fit:
    """Something that can be fitted and can fail in the middle."""

    def __init__(self):
        self.parameter = 1

    @state.rolls_back
    def fit(self, value, *, error=None):
        """Set some attributes."""
        self.value_ = value
        self.parameter += 1
        if error is not None:
            self.half_ = value
            raise error
        return self

    @state.rolls_back
    def fit_twice(self, first, second, *, error=None):
        return self.fit(first).fit(second, error=error)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_what_fails_is_undone(error):
    fresh, fitted = Fit(), Fit().fit([1, 2])
    value = fitted.value_
    for method in (Fit.fit, lambda self, value, error: self.fit_twice(0, value, error=error)):
        for estimator in (fresh, fitted):
            with pytest.raises(type(error)) as caught:
                method(estimator, "new", error=error)
            assert caught.value is error
        assert vars(fresh) == {"parameter": 1}
        assert vars(fitted) == {"parameter": 2, "value_": [1, 2]}
        assert fitted.value_ is value


def test_what_succeeds_stays():
    estimator = Fit()
    assert estimator.fit(3) is estimator
    assert vars(estimator.fit_twice(4, 5)) == {"parameter": 4, "value_": 5}
    assert (Fit.fit.__name__, Fit.fit.__doc__) == ("fit", "Set some attributes.")


FAILING = {
    "detector": lambda fitted: fitted.fit([*photos(5), np.full((8, 8), np.nan)]),
    "features": lambda fitted: fitted.set_params(layers=["features.4", "flatten"]).fit(photos(5)),
    "channels": lambda fitted: fitted.set_params(n_channels=4).fit(FeaturePyramid([np.zeros((2, 3, 1, 1))])),
    "gaussian": lambda fitted: fitted.set_params(epsilon=0).fit(np.ones((9, 3))),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("is_fitted", [True, False])
def test_failed_fit_leaves_the_estimator_as_it_was(name, is_fitted):
    fit, results = CASES[name]
    fitted = fit()
    estimator = fitted if is_fitted else clone(fitted)
    params = estimator.get_params()
    attributes = vars(estimator).keys()
    expected = results(fitted)
    with pytest.raises(ValueError):
        FAILING[name](estimator)
    assert vars(estimator).keys() == attributes
    estimator.set_params(**params)
    if is_fitted:
        assert_same(results(estimator), expected)
    else:
        with pytest.raises(NotFittedError):
            check_is_fitted(estimator)


@pytest.mark.parametrize("name", CASES)
def test_parameters_that_a_file_does_not_know_are_at_their_defaults(name):
    """Files of earlier versions have fewer; the estimator can do all that it could."""
    make, _ = CASES[name]
    estimator = make()
    state = estimator.__getstate__()
    missing = [each for each in ("normalisation", "value_range", "ignore", "on_error") if each in state]
    restored = type(estimator).__new__(type(estimator))
    restored.__setstate__({key: value for key, value in state.items() if key not in missing})
    assert restored.get_params(deep=False) == estimator.get_params(deep=False)
    clone(restored)
    repr(restored)


def test_the_dump_holds_scores_but_no_features(photos):
    many = small(n_calibration=20).fit(photos.X_train)
    more = small(n_calibration=25).fit(photos.X_train)
    # By pickle, as joblib fills up to where an array may begin, by names and texts that stand before it.
    sizes = [len(pickle.dumps(each)) for each in (many, more)]
    # A score, and of which photo it is, which both know that have it.
    assert sizes[1] - sizes[0] == 5 * (8 + 8)
    assert many.pipeline_["gaussian"].n_samples_seen_ == 30

"""PaDiMDetector end to end, against the definition on the plain, unfolded network."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from torchvision.models import get_model

import plain
from skpadim import (
    CNNFeatureTransformer,
    PaDiMDetector,
    PatchGaussian,
    RandomChannelSelector,
)
from skpadim.datasets import make_inspection_images
from small import small

LAYERS = {
    "resnet18": ("layer1", "layer2", "layer3"),
    "squeezenet1_0": ("features.4", "features.8", "features.12"),
}


def plain_features(backbone, images, layers, seed=0):
    """Run torchvision's network as it is, with forward hooks, on uint8 images (n, h, w, 3)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = get_model(backbone, weights=None).eval()
    outputs = {}
    for name in layers:
        network.get_submodule(name).register_forward_hook(
            lambda _module, _args, output, name=name: outputs.__setitem__(name, output.clone())
        )
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        network((pixels - mean) / std)
    return [outputs[name] for name in layers]


@pytest.mark.parametrize("backbone", LAYERS)
def test_maps_equal_the_definition_on_the_plain_network(backbone):
    photos = make_inspection_images(12, 1, 2, image_size=224)
    layers = LAYERS[backbone]
    detector = PaDiMDetector(
        backbone, layers, 100, weights=None, epsilon=0.01, false_alarm_rate=0.5, batch_size=5
    ).fit(photos.X_train)
    features = plain_features(backbone, np.concatenate([photos.X_train, photos.X_test]), layers)
    embedding = plain.embedding(features)[:, detector.channel_indices_]
    distances = plain.distances(embedding[:12], embedding[12:], 0.01)
    expected = plain.maps(distances, (224, 224))
    assert_allclose(detector.anomaly_map(photos.X_test), expected, atol=1e-3 * expected.max())
    scores = -expected.max(axis=(1, 2))
    assert_allclose(detector.score_samples(photos.X_test), scores, rtol=1e-3)


def test_detector_equals_the_pipeline_made_by_hand(detector, photos):
    by_hand = Pipeline(
        [
            (
                "features",
                CNNFeatureTransformer("resnet18", weights=None, image_size=64, layers=LAYERS["resnet18"][:2]),
            ),
            ("channels", RandomChannelSelector(n_channels=12, random_state=0)),
            ("gaussian", PatchGaussian(0.01)),
        ]
    ).fit(photos.X_train)
    assert_array_equal(by_hand["channels"].channel_indices_, detector.channel_indices_)
    assert_allclose(by_hand.score_samples(photos.X_test), detector.score_samples(photos.X_test), rtol=1e-4)
    assert_allclose(by_hand["gaussian"].loo_scores_, detector.loo_scores_, rtol=1e-4)
    assert_array_equal(by_hand.predict(photos.X_test), detector.predict(photos.X_test))


@pytest.mark.parametrize("batch_size", [1, 7])
def test_scores_do_not_depend_on_the_batch_size(detector, photos, batch_size):
    other = small(batch_size=batch_size).fit(photos.X_train)
    assert_allclose(other.score_samples(photos.X_test), detector.score_samples(photos.X_test), rtol=1e-4)
    assert_allclose(other.loo_scores_, detector.loo_scores_, rtol=1e-4)


def test_decisions_agree_with_each_other(detector, photos):
    scores = detector.score_samples(photos.X_test)
    decisions = detector.decision_function(photos.X_test)
    assert_allclose(decisions, scores - detector.offset_)
    assert_array_equal(detector.predict(photos.X_test), np.where(decisions >= 0, 1, -1))
    assert_allclose(detector.anomaly_map(photos.X_test).max(axis=(1, 2)), -scores, rtol=1e-6)
    assert detector.loo_scores_.shape == (30,)
    assert detector.offset_ == -np.sort(detector.loo_scores_)[30 - 1]  # ceil(31 * 0.95) = 30


def test_leave_one_out_equals_refitting_without_the_image(detector, photos):
    for image in (0, 11, 23):
        others = small(false_alarm_rate=0.5).fit(np.delete(photos.X_train, image, axis=0))
        expected = -others.score_samples(photos.X_train[image : image + 1])
        assert_allclose(detector.loo_scores_[image], expected[0], rtol=1e-4)


def test_calibration_sample_is_seeded_and_drawn_from_all(photos):
    sampled = small(n_calibration=20).fit(photos.X_train)
    everything = small().fit(photos.X_train).loo_scores_
    assert sampled.loo_scores_.shape == (20,)
    nearest = np.abs(sampled.loo_scores_[:, None] - everything).min(axis=1)
    assert_allclose(nearest, 0, atol=1e-3)
    assert_array_equal(small(n_calibration=20).fit(photos.X_train).loo_scores_, sampled.loo_scores_)


def test_maps_at_original_size(photos):
    images = [photos.X_train[0][:40, :50], photos.X_train[1]]
    detector = small(image_size=72, crop_size=64).fit(photos.X_train)
    maps = detector.anomaly_map(images, original_size=True)
    assert [single.shape for single in maps] == [(40, 50), (64, 64)]
    assert np.isnan(maps[1][0]).all(), "what the crop cut away was not looked at"
    whole = small().fit(photos.X_train)
    (same,) = whole.anomaly_map(photos.X_test[:1], original_size=True)
    assert_allclose(same, whole.anomaly_map(photos.X_test[:1])[0], rtol=1e-6)


def test_every_kind_of_input_gives_the_same_scores(detector, photos, tmp_path):
    from PIL import Image

    arrays = photos.X_test[:3]
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(array).save(path)
    expected = detector.score_samples(arrays)
    for X in (
        paths,
        [str(path) for path in paths],
        np.array([str(path) for path in paths]),
        [Image.open(path) for path in paths],
        list(arrays),
        torch.from_numpy(arrays).permute(0, 3, 1, 2),
        arrays / 255,
    ):
        assert_allclose(detector.score_samples(X), expected, rtol=1e-4)


def test_same_seed_same_scores_other_seed_others(detector, photos):
    again = small().fit(photos.X_train)
    assert_array_equal(again.score_samples(photos.X_test), detector.score_samples(photos.X_test))
    other = small(random_state=1).fit(photos.X_train)
    assert not np.allclose(other.score_samples(photos.X_test), detector.score_samples(photos.X_test))
    shared = np.random.RandomState(3)
    first = small(random_state=shared).fit(photos.X_train).channel_indices_
    assert not np.array_equal(small(random_state=shared).fit(photos.X_train).channel_indices_, first)


def test_cross_validation_and_grid_search(photos):
    X = np.concatenate([photos.X_train, photos.X_test])
    y = np.concatenate([np.ones(30, dtype=int), photos.y_test])
    good, test = np.arange(30), np.arange(30, len(X))
    folds = [(good[:16], np.r_[good[16:], test]), (good[8:], np.r_[good[:8], test])]
    scores = cross_val_score(small(false_alarm_rate=0.1), X, y, cv=folds, scoring="roc_auc")
    assert scores.shape == (2,) and np.isfinite(scores).all()
    search = GridSearchCV(
        small(false_alarm_rate=0.1),
        {"layers": [("layer1",), ("layer1", "layer2")], "n_channels": [5, 20]},
        cv=folds,
        scoring="roc_auc",
        error_score="raise",
        refit=False,
    ).fit(X, y)
    assert search.cv_results_["mean_test_score"].max() > 0.5


def test_grid_search_on_labels_of_outliers(photos):
    X, y = np.concatenate([photos.X_train, photos.X_test]), np.r_[np.ones(30, int), photos.y_test]
    folds = [(np.arange(20), np.arange(20, 52)), (np.arange(10, 30), np.r_[0:10, 30:52])]
    for scoring in ("roc_auc", "accuracy"):
        search = GridSearchCV(
            small(), {"n_channels": [5, 12]}, cv=folds, scoring=scoring, refit=False, error_score="raise"
        ).fit(X, y)
        assert search.cv_results_["mean_test_score"].min() > 0.5


def test_detector_as_last_step_of_a_pipeline(detector, photos):
    pipeline = Pipeline([("same", "passthrough"), ("padim", small())]).fit(photos.X_train)
    assert_array_equal(pipeline.predict(photos.X_test), detector.predict(photos.X_test))


def test_failed_fit_leaves_the_detector_as_it_was(photos):
    fitted = small().fit(photos.X_train)
    before = fitted.score_samples(photos.X_test)
    fitted.set_params(layers=("layer1", "layr2"))
    with pytest.raises(ValueError, match="layer2"):
        fitted.fit(photos.X_train)
    assert_array_equal(fitted.set_params(layers=("layer1", "layer2")).score_samples(photos.X_test), before)
    fresh = small()
    with pytest.raises(ValueError, match=r"X\[12\] \('nowhere.png'\)"):
        fresh.fit([*photos.X_train[:12], "nowhere.png"])
    assert set(vars(fresh)) == set(clone(fresh).get_params())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"backbone": "resnet81"}, "resnet18"),
        ({"layers": ("layer9",)}, "layer1"),
        ({"layers": ()}, "layers"),
        ({"layers": ("layer1", "layer1")}, "twice"),
        ({"layers": ("avgpool", "fc")}, "feature maps"),
        ({"n_channels": 193}, "192 channels"),
        ({"n_channels": 0}, "n_channels"),
        ({"weights": "missing.pth"}, "missing.pth"),
        ({"image_size": 0}, "image_size"),
        ({"image_size": (64, 0)}, "image_size"),
        ({"crop_size": 65}, "crop_size"),
        ({"epsilon": "big"}, "epsilon"),
        ({"sigma": -1}, "sigma"),
        ({"false_alarm_rate": 0}, "false_alarm_rate"),
        ({"n_calibration": 0}, "n_calibration"),
        ({"batch_size": 0}, "batch_size"),
        ({"n_decoders": 0}, "n_decoders"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"n_jobs": 1.5}, "n_jobs"),
        ({"device": "quantum"}, "device"),
    ],
)
def test_bad_parameters_are_named(photos, params, message):
    with pytest.raises(ValueError, match=message):
        small(**params).fit(photos.X_train)


def test_a_layer_that_is_a_string_is_explained(photos):
    with pytest.raises((TypeError, ValueError), match="layers"):
        small(layers="layer1").fit(photos.X_train)


@pytest.mark.parametrize("n_images", [0, 1, 2])
def test_too_few_images_to_fit(photos, n_images):
    with pytest.raises(ValueError, match=f"n_samples={n_images}"):
        small().fit(photos.X_train[:n_images])


def test_scoring_before_fit(photos):
    from sklearn.exceptions import NotFittedError

    for method in ("predict", "score_samples", "decision_function", "anomaly_map"):
        with pytest.raises(NotFittedError):
            getattr(small(), method)(photos.X_test)
    assert not hasattr(small(), "offset_")


def test_threads_share_a_loaded_detector_while_another_is_fitted(detector, photos, tmp_path):
    joblib.dump(detector, tmp_path / "detector.joblib")
    loaded = joblib.load(tmp_path / "detector.joblib")
    expected = detector.score_samples(photos.X_test)
    with ThreadPoolExecutor(6) as pool:
        scores = [pool.submit(loaded.score_samples, photos.X_test) for _ in range(8)]
        fits = [pool.submit(small().fit, photos.X_train) for _ in range(2)]
        scores += [pool.submit(detector.score_samples, photos.X_test) for _ in range(8)]
        for score in scores:
            assert_allclose(score.result(), expected, rtol=1e-5)
        for fit in fits:
            assert_array_equal(fit.result().channel_indices_, detector.channel_indices_)


def test_two_names_of_one_output_are_refused(photos):
    with pytest.raises(ValueError, match=r"'layer1', 'layer1\.1' are the same output"):
        small(layers=("layer1", "layer1.1")).fit(photos.X_train)


def test_fit_for_which_there_is_no_memory_is_refused_before_the_first_photo(photos, monkeypatch, tmp_path):
    nowhere = [tmp_path / f"{index}.png" for index in range(30)]  # Nobody opens them.
    monkeypatch.setattr("skpadim.detector.available_bytes", lambda device: 2_000_000)
    with pytest.raises(ValueError, match=r"image_size=64 with 12 channels takes .* 2 MB are there"):
        small().fit(nowhere)
    monkeypatch.setattr("skpadim.detector.available_bytes", lambda device: None)
    small().fit(photos.X_train)


def test_jobs_of_an_earlier_version_are_threads_that_decode(photos):
    detector = small(n_decoders=3).fit(photos.X_train)
    features = detector.pipeline_.named_steps["features"]
    for estimator, n_jobs in ((detector, None), (features, "no parameter")):
        old = estimator.__getstate__()
        old["n_jobs"] = old.pop("n_decoders")
        loaded = type(estimator).__new__(type(estimator))
        loaded.__setstate__(old)
        assert (loaded.n_decoders, getattr(loaded, "n_jobs", "no parameter")) == (3, n_jobs)

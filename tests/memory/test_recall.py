"""The memory: the network sees every image once, and nobody can tell from the results."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

from skpadim import CNNFeatureTransformer, PaDiMDetector
from skpadim.datasets import make_inspection_images
from skpadim.images.collection import Images
from skpadim.memory.store import FeatureStore
from skpadim.model_selection import OneClassKFold
from skpadim.network import extractor

SIZE = 32
LAYERS = ("layer1", "layer2", "layer3")


@pytest.fixture(scope="module")
def photos():
    return make_inspection_images(n_train=12, n_good=3, n_defective=3, image_size=SIZE)


@pytest.fixture
def files(photos, tmp_path):
    paths = [tmp_path / f"{index}.png" for index in range(len(photos.X_train))]
    for path, photo in zip(paths, photos.X_train, strict=True):
        Image.fromarray(photo).save(path)
    return paths


@pytest.fixture
def passes(monkeypatch):
    """Count how many images the network sees, each time that it runs."""
    seen = []

    def counted(pixels, *how, normalised=extractor.normalised_pixels):
        seen.append(len(pixels))
        return normalised(pixels, *how)

    monkeypatch.setattr(extractor, "normalised_pixels", counted)
    return seen


def features(memory, **arguments):
    return CNNFeatureTransformer(
        **{
            "backbone": "resnet18",
            "layers": LAYERS,
            "weights": None,
            "image_size": SIZE,
            "memory": memory,
            **arguments,
        }
    )


def assert_equal(found, expected):
    assert found.layer_names == expected.layer_names
    for level, other in zip(found.levels, expected.levels, strict=True):
        assert level.dtype == other.dtype
        assert_allclose(level, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["array", "paths", "tensor", "PIL"])
def test_results_are_those_without_memory(kind, photos, files, tmp_path, passes):
    X = {
        "array": photos.X_train,
        "paths": files,
        "tensor": torch.from_numpy(photos.X_train).permute(0, 3, 1, 2),
        "PIL": [Image.fromarray(photo) for photo in photos.X_train],
    }[kind]
    expected = features(None).fit_transform(X)
    first = features(tmp_path / "memory", batch_size=5).fit_transform(X)
    transformer = features(str(tmp_path / "memory")).fit(X)
    passes.clear()
    again = transformer.transform(X)
    assert not passes, "nothing is computed twice"
    assert_equal(first, expected)
    assert_equal(again, expected)


def test_images_are_known_by_their_content(photos, files, tmp_path, passes):
    transformer = features(joblib.Memory(tmp_path / "memory", verbose=0)).fit(files)
    expected = transformer.transform(files)
    moved = [shutil.copy(path, tmp_path / f"copy of {path.name}") for path in reversed(files)]
    passes.clear()
    assert_equal(transformer.transform(moved), expected[::-1])
    assert not passes, "other names and another order are the same images"
    Image.fromarray(photos.X_test[0]).save(files[3])
    changed = transformer.transform(files)
    assert set(passes) == {1}, "the same name is another image, and it alone is computed"
    assert_equal(changed[[3]], features(None).fit_transform(photos.X_test[:1]))


@pytest.mark.parametrize(
    "other",
    [
        {"image_size": 48},
        {"crop_size": 24},
        {"random_state": 1},
        {"precision": "bfloat16"},
        {"backbone": "resnet34"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_whatever_decides_the_features_tells_them_apart(other, photos, tmp_path):
    features(tmp_path).fit_transform(photos.X_train)
    found = features(tmp_path, **other).fit_transform(photos.X_train)
    assert_equal(found, features(None, **other).fit_transform(photos.X_train))


def test_weights_are_known_by_their_content(photos, tmp_path):
    def save(seed):
        transformer = features(None, random_state=seed, layers=["layer1"]).fit(photos.X_train)
        arrays = {name: torch.from_numpy(array.copy()) for name, array in transformer.trunk_arrays_.items()}
        torch.save(arrays, tmp_path / "weights.pth")
        return transformer.transform(photos.X_train)

    for seed in (0, 1):
        expected = save(seed)
        found = features(tmp_path / "memory", layers=["layer1"], weights=tmp_path / "weights.pth")
        assert_equal(found.fit_transform(photos.X_train), expected)


def test_features_of_modules_are_not_kept(photos, tmp_path, recwarn):
    with torch.random.fork_rng(devices=[]):
        module = nn.Sequential(nn.Conv2d(3, 2, 3))
    arguments = {"backbone": module, "layers": ["0"]}
    with pytest.warns(UserWarning, match="memory: nobody can tell what a module computes"):
        transformer = features(tmp_path, **arguments).fit(photos.X_train)
    for _ in range(2):
        found = transformer.transform(photos.X_train)
        assert_equal(found, features(None, **arguments).fit_transform(photos.X_train))
    assert not recwarn.list, "it says so once"
    assert not list(tmp_path.rglob("*x*x*")), "no features"


@pytest.mark.parametrize(
    "layers", [("layer1",), ("layer2",), ("layer3", "layer1"), ("layer2", "layer1", "layer3")], ids=" ".join
)
def test_layers_that_were_computed_with_others_are_there(layers, photos, tmp_path, passes):
    features(tmp_path, layers=["layer1", "layer2", "layer3"]).fit_transform(photos.X_train)
    transformer = features(tmp_path, layers=layers).fit(photos.X_train)
    passes.clear()
    found = transformer.transform(photos.X_train)
    assert not passes
    assert_equal(found, features(None, layers=layers).fit_transform(photos.X_train))


def test_what_lacks_a_layer_is_computed_anew(photos, tmp_path):
    features(tmp_path, layers=["layer1"]).fit_transform(photos.X_train[::2])
    layers = ["layer1", "layer2"]
    found = features(tmp_path, layers=layers).fit_transform(photos.X_train)
    assert_equal(found, features(None, layers=layers).fit_transform(photos.X_train))


def test_known_and_new_images_mix_in_a_batch(photos, tmp_path):
    features(tmp_path).fit_transform(photos.X_train[::2])
    found = features(tmp_path, batch_size=5).fit_transform(photos.X_train)
    assert_equal(found, features(None).fit_transform(photos.X_train))


@pytest.mark.parametrize("damage", ["truncated", "empty", "longer", "removed"])
def test_damaged_files_are_made_again(damage, photos, tmp_path):
    expected = features(tmp_path).fit_transform(photos.X_train)
    kept = sorted(tmp_path.rglob("layer2*"))
    assert len(kept) == len(photos.X_train)
    content = kept[0].read_bytes()
    kept[0].unlink()
    if damage != "removed":
        damaged = {"truncated": content[:-5], "empty": b"", "longer": content + b"more"}[damage]
        kept[0].write_bytes(damaged)
    assert_equal(features(tmp_path).fit_transform(photos.X_train), expected)
    made_again = kept[0].read_bytes()
    assert made_again[-3:] == content[-3:]
    assert_allclose(
        np.frombuffer(made_again[:-3], "<f4"), np.frombuffer(content[:-3], "<f4"), rtol=1e-4, atol=1e-5
    )


def test_detector_scores_as_without(photos, tmp_path):
    arguments = {"weights": None, "image_size": SIZE, "n_channels": 20, "false_alarm_rate": 0.2}
    plain = PaDiMDetector(**arguments).fit(photos.X_train)
    for _ in range(2):
        remembering = PaDiMDetector(memory=tmp_path, **arguments).fit(photos.X_train)
        for method in ("score_samples", "anomaly_map", "decision_function"):
            found, expected = (getattr(d, method)(photos.X_test) for d in (remembering, plain))
            assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    sizes = [single.shape for single in remembering.anomaly_map(list(photos.X_test), original_size=True)]
    assert sizes == [(SIZE, SIZE)] * 6


def test_search_runs_the_network_once(photos, tmp_path, passes):
    X = np.concatenate([photos.X_train, photos.X_test])
    y = np.concatenate([np.ones(len(photos.X_train), dtype=int), photos.y_test])
    features(tmp_path).fit_transform(X)  # all layers of the search, once
    search = GridSearchCV(
        PaDiMDetector("resnet18", weights=None, image_size=SIZE, memory=tmp_path, false_alarm_rate=0.3),
        {
            "layers": [("layer1",), ("layer1", "layer2"), ("layer1", "layer2", "layer3")],
            "n_channels": [5, 10],
        },
        cv=OneClassKFold(3),
        scoring="roc_auc",
        refit=False,
    )
    passes.clear()
    search.fit(X, y)
    assert set(passes) <= {1}, "a grey image through each network built"
    without = clone(search).set_params(estimator__memory=None).fit(X, y)
    assert_array_equal(search.cv_results_["rank_test_score"], without.cv_results_["rank_test_score"])
    assert_allclose(search.cv_results_["mean_test_score"], without.cv_results_["mean_test_score"])


def test_search_in_several_processes(photos, tmp_path):
    X = np.concatenate([photos.X_train, photos.X_test])
    y = np.concatenate([np.ones(len(photos.X_train), dtype=int), photos.y_test])
    arguments = {"backbone": "resnet18", "weights": None, "image_size": SIZE, "false_alarm_rate": 0.3}
    grid = {"layers": [("layer1",), ("layer1", "layer2")]}
    results = [
        GridSearchCV(
            PaDiMDetector(memory=memory, **arguments),
            grid,
            cv=OneClassKFold(2),
            scoring="roc_auc",
            refit=False,
            n_jobs=n_jobs,
        ).fit(X, y)
        for memory, n_jobs in ((joblib.Memory(tmp_path, verbose=0), 2), (None, None))
    ]
    assert_allclose(*(result.cv_results_["mean_test_score"] for result in results))


def test_clear_empties_the_folder(photos, tmp_path, passes):
    memory = joblib.Memory(tmp_path, verbose=0)
    transformer = features(memory).fit(photos.X_train)
    transformer.transform(photos.X_train)
    memory.clear(warn=False)
    assert not list(tmp_path.rglob("layer1*"))
    passes.clear()
    transformer.transform(photos.X_train)
    assert passes
    memory.reduce_size(bytes_limit=1)
    assert not list(tmp_path.rglob("layer1*"))


def test_file_does_not_carry_the_features(photos, tmp_path):
    plain = features(None).fit(photos.X_train)
    remembering = features(joblib.Memory(tmp_path, verbose=0)).fit(photos.X_train)
    assert len(pickle.dumps(remembering)) < len(pickle.dumps(plain)) + 1000
    loaded = pickle.loads(pickle.dumps(remembering))
    assert_equal(loaded.transform(photos.X_train), plain.transform(photos.X_train))


def test_broken_image_is_named(files, tmp_path):
    files[4].write_bytes(files[4].read_bytes()[:60])
    with pytest.raises(ValueError, match=r"X\[4\].*4\.png"):
        features(tmp_path / "memory", batch_size=3).fit_transform(files)
    files[4].unlink()
    with pytest.raises(ValueError, match=r"X\[4\].*no such file"):
        features(tmp_path / "memory", batch_size=3).fit_transform(files)


def test_each_content_is_computed_once(photos, tmp_path, passes):
    X = photos.X_train[[0, 1, 0, 2, 2, 3, 1]]
    expected = features(None).fit_transform(X)
    transformer = features(tmp_path).fit(X)
    passes.clear()
    assert_equal(transformer.transform(X), expected)
    assert set(passes) == {4}
    X = photos.X_train[[4, 0, 5, 1, 6]]
    expected = features(None).fit_transform(X)
    passes.clear()
    assert_equal(transformer.transform(X), expected)
    assert set(passes) == {3}, "together, though they are not neighbours"


def test_file_that_is_written_while_it_is_read_is_not_kept(photos, files, tmp_path, monkeypatch):
    """The digest is of one photo, the pixels are of the next."""
    digest, copied = Images.digest, Path(shutil.copy(files[0], tmp_path / "copy.png"))

    def digest_and_write(self, index):
        before = digest(self, index)
        Image.fromarray(photos.X_train[1]).save(files[0])
        return before

    monkeypatch.setattr(Images, "digest", digest_and_write)
    found = features(tmp_path / "memory").fit_transform(files[:1])
    assert_equal(found, features(None).fit_transform(photos.X_train[1:2]))
    monkeypatch.setattr(Images, "digest", digest)
    found = features(tmp_path / "memory").fit_transform([copied])
    assert_equal(found, features(None).fit_transform(photos.X_train[:1]))


def test_fits_of_the_same_do_not_change_each_other(photos, tmp_path):
    first, second = (features(tmp_path).fit(photos.X_train) for _ in range(2))
    first.level_shapes_.clear()
    assert second.level_shapes_
    # They share their weights, which nobody can write to.
    with pytest.raises(ValueError, match="read-only"):
        next(iter(second.trunk_arrays_.values()))[...] = 0


def test_folder_that_is_emptied_meanwhile(photos, tmp_path, monkeypatch):
    expected = features(None).fit_transform(photos.X_train)
    write = FeatureStore.write

    def write_and_empty(self, *arguments):
        write(self, *arguments)
        shutil.rmtree(self._folder)

    monkeypatch.setattr(FeatureStore, "write", write_and_empty)
    assert_equal(features(tmp_path, batch_size=5).fit_transform(photos.X_train), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: joblib.Memory(None), "has no folder to keep features in"),
        (lambda _: "", "has no folder to keep features in"),
        (lambda file: file, r"cannot be made a folder \((File exists|Not a directory)\)"),
        (lambda file: str(file / "below"), r"cannot be made a folder \(Not a directory\)"),
    ],
    ids=["memory", "empty", "file", "below a file"],
)
def test_memory_without_a_folder_is_refused(make, message, photos, files):
    with pytest.raises(ValueError, match=f"memory=.*{message}.*Pass the path of a folder"):
        features(make(files[0])).fit(photos.X_train)


@pytest.mark.parametrize("there", ["nothing", "a file"])
@pytest.mark.parametrize(
    "make", [str, lambda folder: joblib.Memory(folder, verbose=0)], ids=["path", "memory"]
)
def test_deployed_detector_makes_no_folder(there, make, photos, tmp_path):
    """Where the folder of the fit is gone, features are computed, and the disk stays as it is."""
    folder = tmp_path / "memory"
    detector = PaDiMDetector(
        "resnet18", weights=None, image_size=SIZE, memory=make(folder), false_alarm_rate=0.3
    )
    expected = detector.fit(photos.X_train).score_samples(photos.X_test)
    saved = pickle.dumps(detector)
    shutil.rmtree(folder)
    if there == "a file":
        folder.write_text("no folder")
    with pytest.warns(UserWarning, match=r"memory=.*is not there.*Features are computed and not kept"):
        found = pickle.loads(saved).score_samples(photos.X_test)
    assert_allclose(found, expected, rtol=1e-5)
    assert not folder.is_dir()


def test_memory_can_be_taken_away_after_the_fit(photos, tmp_path):
    detector = PaDiMDetector("resnet18", weights=None, image_size=SIZE, memory=tmp_path, false_alarm_rate=0.3)
    detector.fit(photos.X_train)
    before = len(list(tmp_path.rglob("*")))
    detector.set_params(memory=None).predict(photos.X_test)
    assert len(list(tmp_path.rglob("*"))) == before


def test_memory_of_another_type_is_refused(photos):
    with pytest.raises(ValueError, match="'memory' parameter"):
        features(3).fit(photos.X_train)

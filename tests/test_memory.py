"""The memory: the network sees every image once, and nobody can tell from the results."""

from __future__ import annotations

import functools
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
from skpadim.memory.store import FeatureCache
from skpadim.model_selection import OneClassKFold
from skpadim.network.convolutions import PackedConvolution

SIZE = 32


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
    """Count how many images every convolution sees."""
    seen = []
    for kind in (nn.Conv2d, PackedConvolution):  # ExactConvolution is one of the former.

        @functools.wraps(kind.forward)
        def counted(self, x, forward=kind.forward):
            seen.append(len(x))
            return forward(self, x)

        monkeypatch.setattr(kind, "forward", counted)
    return seen


def features(memory, **arguments):
    return CNNFeatureTransformer(**{"weights": None, "image_size": SIZE, "memory": memory, **arguments})


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


def test_modules_are_known_by_their_weights(photos, tmp_path):
    def module(value):
        with torch.random.fork_rng(devices=[]):
            convolution = nn.Conv2d(3, 2, 3)
        nn.init.constant_(convolution.weight, value)
        nn.init.zeros_(convolution.bias)
        return nn.Sequential(convolution)

    for value in (1.0, 2.0):
        arguments = {"backbone": module(value), "layers": ["0"]}
        found = features(tmp_path, **arguments).fit_transform(photos.X_train)
        assert_equal(found, features(None, **arguments).fit_transform(photos.X_train))


@pytest.mark.parametrize(
    "sets",
    [
        [("layer1",), ("layer1", "layer2"), ("layer1", "layer2", "layer3")],
        [("layer1", "layer2", "layer3"), ("layer2",), ("layer3", "layer1")],
        [("layer1",), ("layer2",), ("layer3",)],
    ],
    ids=["growing", "shrinking", "apart"],
)
def test_sets_of_layers_share_what_they_can(sets, photos, tmp_path, passes):
    once = features(None, layers=["layer1", "layer2", "layer3"]).fit(photos.X_train)
    passes.clear()
    once.transform(photos.X_train)
    one_pass = sum(passes)
    total = 0
    for layers in sets:
        transformer = features(tmp_path, layers=layers).fit(photos.X_train)
        passes.clear()
        found = transformer.transform(photos.X_train)
        total += sum(passes)
        assert_equal(found, features(None, layers=layers).fit_transform(photos.X_train))
    assert total <= 1.01 * one_pass


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
    search = GridSearchCV(
        PaDiMDetector(weights=None, image_size=SIZE, memory=tmp_path, false_alarm_rate=0.3),
        {
            "layers": [("layer1",), ("layer1", "layer2"), ("layer1", "layer2", "layer3")],
            "n_channels": [5, 10],
        },
        cv=OneClassKFold(3),
        scoring="roc_auc",
        refit=False,
    )
    whole = features(None).fit(X)
    passes.clear()
    whole.transform(X)
    one_pass = sum(passes)
    passes.clear()
    search.fit(X, y)
    probes = len(search.cv_results_["params"]) * 3 * 14  # a black image through each network built
    assert sum(passes) <= 1.1 * one_pass + probes
    without = clone(search).set_params(estimator__memory=None).fit(X, y)
    assert_array_equal(search.cv_results_["rank_test_score"], without.cv_results_["rank_test_score"])
    assert_allclose(search.cv_results_["mean_test_score"], without.cv_results_["mean_test_score"])


def test_search_in_several_processes(photos, tmp_path):
    X = np.concatenate([photos.X_train, photos.X_test])
    y = np.concatenate([np.ones(len(photos.X_train), dtype=int), photos.y_test])
    arguments = {"weights": None, "image_size": SIZE, "false_alarm_rate": 0.3}
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


def test_images_with_other_layers_there_do_not_wait_for_each_other(photos, tmp_path, passes):
    X = photos.X_train[:6]
    features(tmp_path, layers=["layer1"]).fit_transform(X[1:])
    transformer = features(tmp_path, layers=["layer2"]).fit(X)
    passes.clear()
    found = transformer.transform(X)
    assert set(passes) == {1, 5}
    assert passes.count(5) < passes.count(1), "five images go on from the layer that is there"
    assert_equal(found, features(None, layers=["layer2"]).fit_transform(X))


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
    first.trunk_arrays_.clear()
    assert second.level_shapes_ and second.trunk_arrays_
    with pytest.raises(ValueError, match="read-only"):
        next(iter(second.trunk_arrays_.values()))[...] = 0


def test_folder_that_is_emptied_meanwhile(photos, tmp_path, monkeypatch):
    expected = features(None).fit_transform(photos.X_train)
    write = FeatureCache.write

    def write_and_empty(self, *arguments):
        write(self, *arguments)
        shutil.rmtree(self._folder)

    monkeypatch.setattr(FeatureCache, "write", write_and_empty)
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


def test_file_serves_where_the_folder_of_the_memory_cannot_be(photos, tmp_path):
    detector = PaDiMDetector(weights=None, image_size=SIZE, memory=tmp_path / "memory", false_alarm_rate=0.3)
    expected = detector.fit(photos.X_train).score_samples(photos.X_test)
    saved = pickle.dumps(detector)
    shutil.rmtree(tmp_path / "memory")
    (tmp_path / "memory").write_text("no folder")
    with pytest.warns(UserWarning, match=r"cannot be made a folder.*Features are computed and not kept"):
        found = pickle.loads(saved).score_samples(photos.X_test)
    assert_allclose(found, expected, rtol=1e-5)


def test_memory_of_another_type_is_refused(photos):
    with pytest.raises(ValueError, match="'memory' parameter"):
        features(3).fit(photos.X_train)

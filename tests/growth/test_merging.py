"""Parts that learned apart, merged, equal one fit on all photos."""

from __future__ import annotations

import copy
from itertools import permutations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import skpadim
from skpadim import PatchGaussian
from small import small

PARAMS = {"n_calibration": 20, "batch_size": 8, "false_alarm_rate": 0.1}
ROUNDING = 2e-5
CUTS = [3, 4, 16]


@pytest.fixture(scope="module")
def one_fit(photos):
    return small(**PARAMS).fit(photos.X_train)


@pytest.fixture(scope="module")
def parts(photos):
    return [small(**PARAMS).partial_fit(part) for part in np.split(photos.X_train, CUTS)]


def test_merged_parts_equal_one_fit(parts, one_fit, photos):
    before = [dict(vars(part)) for part in parts]
    merged = skpadim.merge(parts)
    assert_allclose(merged.score_samples(photos.X_test), one_fit.score_samples(photos.X_test), rtol=ROUNDING)
    assert_allclose(merged.loo_scores_, one_fit.loo_scores_, rtol=ROUNDING)
    assert_allclose(merged.threshold(), one_fit.threshold(), rtol=ROUNDING)
    assert_array_equal(merged.loo_indices_, one_fit.loo_indices_)
    assert_array_equal(merged.photo_statistics_, one_fit.photo_statistics_)
    assert [vars(part) for part in parts] == before


def test_order_decides_nothing_but_rounding(parts, photos):
    edges = [0, *CUTS, 30]
    scores, samples = [], []
    for order in permutations(range(4)):
        merged = skpadim.merge([parts[index] for index in order])
        scores.append(merged.score_samples(photos.X_test))
        places = np.concatenate([np.arange(edges[index], edges[index + 1]) for index in order])
        samples.append(sorted(places[merged.loo_indices_]))
    assert_allclose(scores, np.broadcast_to(scores[0], np.shape(scores)), rtol=1e-6)
    assert all(sample == samples[0] for sample in samples)


def test_a_tree_of_merges_and_days_after(parts, one_fit, photos):
    left, right = skpadim.merge(parts[:2]), skpadim.merge([parts[2]])
    merged = skpadim.merge([left, right]).partial_fit(photos.X_train[16:])
    assert_allclose(merged.loo_scores_, one_fit.loo_scores_, rtol=ROUNDING)
    assert_array_equal(merged.loo_indices_, one_fit.loo_indices_)
    bad = photos.X_train[[1, 20]]
    expected = small(**PARAMS).fit(np.delete(photos.X_train, [1, 20], axis=0))
    found = merged.forget(bad).score_samples(photos.X_test)
    assert_allclose(found, expected.score_samples(photos.X_test), rtol=ROUNDING)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"backbone": "resnet34"}, "backbone and weights"),
        ({"weights": "other"}, "backbone and weights"),
        ({"layers": ("layer1",)}, "layers"),
        ({"n_channels": 11}, "n_channels"),
        ({"random_state": 1}, "random_state"),
        ({"image_size": 48}, "image_size"),
        ({"crop_size": 48}, "crop_size"),
        ({"value_range": (0, 200)}, "value_range"),
        ({"ignore": np.eye(64, dtype=bool)}, "ignore"),
        ({"normalisation": "inception"}, "normalisation"),
        ({"n_calibration": 19}, "n_calibration"),
        ({"epsilon": 0.02}, "epsilon"),
        ({"sigma": 3.0}, "sigma"),
        ({"false_alarm_rate": 0.2}, "false_alarm_rate"),
    ],
)
def test_other_parts_are_refused_by_what_differs(params, name, parts, photos, tmp_path):
    if params.get("weights") == "other":
        from torchvision.models import resnet18

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            torch.save(resnet18(weights=None).state_dict(), tmp_path / "other.pt")
        params = {"weights": tmp_path / "other.pt"}
    other = small(**(PARAMS | params)).partial_fit(photos.X_test[:3])
    with pytest.raises(ValueError, match=rf"part 1 has another {name}, .* than part 0"):
        skpadim.merge([parts[0], other])


def test_networks_are_told_apart_by_content(photos):
    def part(seed, X):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.Conv2d(4, 5, 3, 2))
        return small(backbone=network, layers=["0", "1"], n_channels=None).partial_fit(X)

    one, same, other = part(0, photos.X_train[:5]), part(0, photos.X_train[5:]), part(1, photos.X_test)
    assert len(skpadim.merge([one, same]).loo_scores_) == 30
    with pytest.raises(ValueError, match="part 1 has another backbone and weights"):
        skpadim.merge([one, other])


def test_photos_in_two_parts_are_named(parts, photos, tmp_path):
    path = tmp_path / "again.png"
    Image.fromarray(photos.X_train[17]).save(path)
    other = small(**PARAMS).partial_fit([photos.X_test[0], path])
    with pytest.raises(
        ValueError,
        match=r"1 photo\(s\) were learned twice.*X\[1\] \('.*again\.png'\) of part 4 is X\[1\] of part 3",
    ):
        skpadim.merge([*parts, other])


def test_what_is_no_part_is_refused(parts, photos):
    with pytest.raises(ValueError, match="there is none"):
        skpadim.merge([])
    with pytest.raises(TypeError, match="number 1 is a PatchGaussian"):
        skpadim.merge([parts[0], PatchGaussian()])
    frozen = skpadim.merge(parts).freeze()
    for empty in (small(), small(**PARAMS).fit(photos.X_train), frozen):
        with pytest.raises(ValueError, match="number 1 carries nothing to merge"):
            skpadim.merge([parts[0], empty])


def test_parts_without_photos_are_refused(parts, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no photo")
    with pytest.warns(UserWarning, match="1 of 1 images"):
        empty = small(**PARAMS, on_error="skip").partial_fit([tmp_path / "bad.png"])
    with pytest.raises(ValueError, match="number 0 has learned no photo"):
        skpadim.merge([empty, parts[0]])


def test_parts_whose_parameters_changed_are_refused(parts):
    changed = copy.deepcopy(parts[-1])
    changed._growing = parts[-1]._growing
    changed.set_params(sigma=2.0)
    with pytest.raises(ValueError, match=r"^parts: number 1: sigma=2\.0 is not as when photos were learned"):
        skpadim.merge([parts[-2], changed])
    with pytest.raises(TypeError, match="single detector"):
        skpadim.merge(parts[0])

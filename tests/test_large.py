"""Large photos, with limits lowered to what small photos reach: the same results in less memory."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skpadim import CNNFeatureTransformer, FeaturePyramid, PatchGaussian, RandomChannelSelector
from skpadim.images import resizing
from skpadim.kernels import scoring
from skpadim.kernels.scoring import PackedRows
from skpadim.needs import MemoryNeed, fit_bytes, score_bytes
from skpadim.network import extractor as extractor_module
from small import small

SIDE = 64


@pytest.fixture
def few_at_a_time(monkeypatch):
    monkeypatch.setattr(resizing, "_PIXELS_AT_A_TIME", 3 * SIDE**2 + 1)


def test_few_large_photos_make_a_batch(photos, few_at_a_time):
    detector = small(batch_size=8).fit(photos.X_train)
    features = detector.pipeline_[0]
    n_together = [len(batch.indices) for batch in features.stream(photos.X_train)]
    assert n_together[:-1] == [3] * (len(n_together) - 1) and sum(n_together) == len(photos.X_train)
    expected = small(batch_size=3).fit(photos.X_train)
    assert_array_equal(detector.loo_scores_, expected.loo_scores_)
    assert_array_equal(detector.score_samples(photos.X_test), expected.score_samples(photos.X_test))


def test_a_photo_beyond_all_limits_comes_alone(photos, monkeypatch):
    monkeypatch.setattr(resizing, "_PIXELS_AT_A_TIME", 1)
    features = CNNFeatureTransformer("resnet18", layers=["layer1"], weights=None, image_size=32)
    features.fit(photos.X_test)
    assert {len(batch.indices) for batch in features.stream(photos.X_test)} == {1}


def test_parts_of_a_growing_detector_come_in_few_at_a_time(photos, few_at_a_time, tmp_path):
    whole = small(batch_size=8).fit(photos.X_train)
    grown = small(batch_size=8).partial_fit(photos.X_train[:10]).partial_fit(photos.X_train[10:])
    assert_allclose(grown.loo_scores_, whole.loo_scores_, rtol=1e-5)
    kept = small(batch_size=8, memory=tmp_path, checkpoint=tmp_path / "c").fit(photos.X_train)
    assert_allclose(kept.loo_scores_, whole.loo_scores_, rtol=1e-5)


def test_a_whole_detector_on_tiles(photos, monkeypatch):
    params = {"image_size": 320, "layers": ("layer1",), "n_channels": 6}
    whole = small(**params).fit(photos.X_train)
    expected = whole.score_samples(photos.X_test)
    extractor = whole.pipeline_[0]._extractor
    largest = extractor.activation_bytes((320, 320))
    monkeypatch.setattr(extractor_module, "_TILE_BYTES", largest // 2)
    extractor._tilings.clear()
    monkeypatch.setattr(extractor, "_largest", {})
    tiled = small(**params).fit(photos.X_train)
    assert tiled.pipeline_[0]._extractor.tiling((320, 320)) is not None
    assert_allclose(tiled.loo_scores_, whole.loo_scores_, rtol=1e-5)
    assert_allclose(tiled.score_samples(photos.X_test), expected, rtol=1e-5)


def test_gaussians_of_large_photos_stay_packed(photos, monkeypatch):
    detector = small().fit(photos.X_train)
    expected = detector.anomaly_map(photos.X_test)
    gaussian = copy.copy(detector.pipeline_[-1])  # without the scorer, which it lays out anew
    monkeypatch.setattr(scoring, "UNPACKED_PIXELS", SIDE**2 - 1)
    scorer = gaussian._fitted_scorer()
    for rows, kept in zip(scorer.whitening, gaussian.whitening_, strict=True):
        assert isinstance(rows, PackedRows)
        assert rows.packed.data_ptr() == kept.ctypes.data
    pyramid = detector.pipeline_[:2].transform(photos.X_test)
    assert_allclose(gaussian.anomaly_map(pyramid), expected, rtol=1e-5, atol=1e-5)


def test_coarser_patches_are_means_of_features(photos):
    """Against steps of one's own, whose features are averaged by NumPy."""
    detector = small(patch_stride=8, layers=("layer1", "layer2")).fit(photos.X_train)
    features, channels, gaussian = detector.pipeline_.named_steps.values()
    assert gaussian.level_shapes_ == [(len(k), 8, 8) for k in channels.by_layer([64, 128])]
    plain = CNNFeatureTransformer("resnet18", weights=None, image_size=SIDE, layers=("layer1", "layer2"))
    selector = RandomChannelSelector(12, random_state=0)

    def averaged(X):
        fine, coarse = plain.transform(X).levels
        cells = fine.reshape(*fine.shape[:2], 8, 2, 8, 2).mean(axis=(3, 5))
        return FeaturePyramid([cells, coarse], plain.layer_names_, (SIDE, SIDE))

    plain.fit(photos.X_train)
    train = selector.fit_transform(averaged(photos.X_train))
    by_hand = PatchGaussian(0.01).fit(train)
    found = -detector.score_samples(photos.X_test)
    assert_allclose(-by_hand.score_samples(selector.transform(averaged(photos.X_test))), found, rtol=1e-4)
    assert features.get_params()["patch_stride"] == 8 and features.pooling_ == (2, 1)
    again = pickle.loads(pickle.dumps(detector))
    assert_array_equal(-again.score_samples(photos.X_test), found)


def test_features_kept_of_other_patches_are_others(photos, tmp_path):
    params = {"layers": ["layer1"], "weights": None, "image_size": SIDE, "memory": tmp_path}
    fine = CNNFeatureTransformer("resnet18", **params).fit_transform(photos.X_test)
    coarse = CNNFeatureTransformer("resnet18", patch_stride=8, **params).fit_transform(photos.X_test)
    again = CNNFeatureTransformer("resnet18", patch_stride=8, **params).fit_transform(photos.X_test)
    assert (fine.shape[2:], coarse.shape[2:]) == ((16, 16), (8, 8))
    assert_array_equal(coarse.levels[0], again.levels[0])


def test_patches_that_do_not_fit_leave_the_detector_as_it_was(photos):
    detector = small(image_size=72).fit(photos.X_train)
    scores = detector.score_samples(photos.X_test)
    with pytest.raises(ValueError, match="patch_stride=16 asks for means of 4 x 4 patches of layer 'layer1'"):
        detector.set_params(patch_stride=16).fit(photos.X_train)
    assert_array_equal(detector.score_samples(photos.X_test), scores)


def test_parts_of_other_patches_do_not_merge(photos):
    one = small().partial_fit(photos.X_train[:5])
    with pytest.raises(ValueError, match="patch_stride"):
        one.set_params(patch_stride=8).partial_fit(photos.X_train[5:])


def test_the_need_is_known_beforehand_and_is_that_of_the_fit(photos):
    detector = small(device="cpu")
    need = detector.memory_need(len(photos.X_train))
    assert not hasattr(detector, "pipeline_")
    features, channels, _ = detector.fit(photos.X_train).pipeline_.named_steps.values()
    kept = channels.by_layer([shape[0] for shape in features.level_shapes_])
    plan = features.plan(kept, len(photos.X_train), detector.n_calibration)
    assert isinstance(need, MemoryNeed) and need.fit == fit_bytes(plan)
    assert need.score == score_bytes(plan)
    assert small(device="cpu", patch_stride=8).memory_need(20).fit < detector.memory_need(20).fit
    with pytest.raises(ValueError, match="n_calibration"):
        small(n_calibration=0).memory_need(20)
    assert detector.memory_need(np.int64(20)) == detector.memory_need(20)


@pytest.mark.parametrize(
    ("n_images", "kind"),
    [
        (2, ValueError),
        (0, ValueError),
        (-5, ValueError),
        (2.5, TypeError),
        ("10", TypeError),
        (True, TypeError),
    ],
)
def test_the_need_of_no_number_of_photos_is_refused(n_images, kind):
    with pytest.raises(kind, match=rf"n_images={n_images!r} must be (an int|at least 3)"):
        small().memory_need(n_images)


def test_tiles_are_counted(monkeypatch):
    def need():
        return small(device="cpu", image_size=512, n_channels=4, random_state=3).memory_need(3)

    whole = need()
    monkeypatch.setattr(extractor_module, "_TILE_BYTES", 2**22)
    # Extractors are shared by those that hold one: the one of before is gone.
    assert need().fit < whole.fit - 2**22


def test_a_large_photo_passes_the_network_in_bounded_memory(monkeypatch):
    """What tiles take at their peak, as the profiler sees it, beside what a photo alone gives."""
    monkeypatch.setattr(extractor_module, "_TILE_BYTES", 2**21)
    features = CNNFeatureTransformer("resnet18", layers=["layer1"], weights=None, image_size=768).build()
    extractor = features._fitted_extractor()
    pixels = torch.zeros(1, 3, 768, 768, dtype=torch.uint8)
    assert extractor.tiling((768, 768)) is not None
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        (level,) = extractor.levels(pixels, [np.arange(4)])
    sizes = [
        event.nbytes()
        for event in sorted(
            (e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"),
            key=lambda event: event.start_ns(),
        )
    ]
    whole = 64 * 384 * 384 * 4
    assert level.shape == (1, 4, 192, 192)
    assert np.cumsum(sizes).max() < whole / 2

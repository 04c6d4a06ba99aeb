"""PaDiMDetector(resize=...): photos of another aspect than what the network sees."""

from __future__ import annotations

import io

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from torch import nn
from torch.nn.functional import interpolate
from torch.nn.utils import skip_init

import plain
from skpadim import CNNFeatureTransformer, PaDiMDetector, PhotoLoader, merge
from skpadim.datasets import make_inspection_images
from skpadim.export import to_onnx
from skpadim.growth.identity import refuse_others
from skpadim.images import placing
from skpadim.images.arriving import as_arriving
from skpadim.persistence import TRUSTED_TYPES
from small import small

SIZE, PATCH, MEAN = (64, 64), 16, (0.485, 0.456, 0.406)
COLOUR = [124, 116, 104]


def draw(n_photos, height, width, seed=0):
    """Draw photos of one part: the same everywhere, but for noise."""
    part = np.random.default_rng(9).integers(60, 200, (height, width, 3))
    noise = np.random.default_rng(seed).integers(-20, 20, (n_photos, height, width, 3))
    return (part + noise).clip(0, 255).astype(np.uint8)


def patches(resize="stretch", **params):
    """Return a detector whose patches do not see each other: what is beside one is nothing to it."""
    rng = np.random.default_rng(3)
    module = nn.Sequential(skip_init(nn.Conv2d, 3, 5, PATCH, stride=PATCH), nn.ReLU())
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.from_numpy(rng.normal(0, 0.05, weight.shape)))
    defaults = {"layers": ["1"], "n_channels": None, "image_size": SIZE, "epsilon": 0.01, "sigma": 3.0}
    return PaDiMDetector(module, resize=resize, **(defaults | params))


def padded(photos, resized, size=SIZE):
    """Resize photos of one size, and paste them to the centre of a canvas, by hand."""
    planes = torch.from_numpy(photos).permute(0, 3, 1, 2)
    planes = interpolate(planes, resized, mode="bilinear", antialias=True)
    canvas = (
        torch.tensor(COLOUR, dtype=torch.uint8)[None, :, None, None].expand(len(photos), 3, *size).clone()
    )
    top, left = ((whole - part) // 2 for whole, part in zip(size, resized, strict=True))
    canvas[:, :, top : top + resized[0], left : left + resized[1]] = planes
    return canvas.permute(0, 2, 3, 1).numpy()


def test_padding_equals_padded_photos_with_its_patches_left_out():
    good, new = draw(14, 32, 64), draw(3, 32, 64, seed=1)
    beside = np.ones(SIZE, bool)
    beside[16:48] = False
    by_hand = small(ignore=beside, false_alarm_rate=0.2).fit(padded(good, (32, 64)))
    detector = small(resize="pad", false_alarm_rate=0.2).fit(good)
    assert_allclose(detector.loo_scores_, by_hand.loo_scores_, rtol=1e-5)
    assert_allclose(detector.offset_, by_hand.offset_, rtol=1e-5)
    X = padded(new, (32, 64))
    assert_allclose(detector.score_samples(new), by_hand.score_samples(X), rtol=1e-5)
    assert_allclose(detector.anomaly_map(new), by_hand.anomaly_map(X), rtol=1e-4)
    assert_array_equal(detector.pipeline_["features"].ignored_, beside)
    whole = detector.anomaly_map(new, original_size=True)
    assert_allclose(whole, by_hand.anomaly_map(X)[:, 16:48], rtol=1e-4)


def test_features_are_those_of_photos_padded_by_hand_to_the_bit():
    network = {"backbone": "resnet18", "weights": None, "layers": ("layer1", "layer2"), "image_size": SIZE}
    photos = draw(4, 20, 90)
    found = CNNFeatureTransformer(**network, resize="pad").fit_transform(photos)
    expected = CNNFeatureTransformer(**network).fit_transform(padded(photos, (14, 64)))
    for one, other in zip(found.levels, expected.levels, strict=True):
        assert_array_equal(one, other)


def plain_maps(distances, hidden, sigma):
    """The mean of the patches that count, by the weights of the smoothing; 0 in those that do not."""
    counted = ~hidden
    maps = plain.maps(distances * counted, SIZE, sigma) / plain.maps(counted.astype(float), SIZE, sigma)
    return np.where(np.kron(hidden, np.ones((PATCH, PATCH), bool)), 0, maps)


MIXED = [(32, 64), (64, 64), (64, 32), (64, 64), (64, 64)]


def hidden_by_hand(size):
    height, width = size
    padding = np.ones(SIZE, bool)
    padding[(64 - height) // 2 : (64 + height) // 2, (64 - width) // 2 : (64 + width) // 2] = False
    parts = padding.reshape(4, PATCH, 4, PATCH).mean((1, 3))
    return parts > 0.25


def mixed(n_rounds, seed=0):
    """Return photos of three shapes, and the same padded by hand."""
    rng = np.random.default_rng(seed)
    photos = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in MIXED * n_rounds]
    return photos, np.concatenate([padded(photo[None], photo.shape[:2]) for photo in photos])


def test_photos_of_several_shapes_equal_the_definition():
    """One in five photos hides the top and the bottom, one the left and the right: only the middle counts."""
    (good, whole), (new, whole_new) = mixed(8), mixed(1, seed=5)
    detector = patches("pad").fit(good)
    embedded, embedded_new = (
        detector.pipeline_["features"].transform(X).levels[0].astype(float) for X in (whole, whole_new)
    )
    rarely = np.ones((4, 4), bool)
    rarely[1:3, 1:3] = False
    assert_array_equal(detector.pipeline_["features"].ignored_, np.kron(rarely, np.ones((16, 16), bool)))
    distances = plain.distances(embedded, embedded_new, 0.01)
    hidden = np.stack([hidden_by_hand(size) | rarely for size in MIXED])
    expected = plain_maps(distances, hidden, 3.0)
    assert_allclose(detector.anomaly_map(new), expected, rtol=1e-3, atol=1e-4)
    assert_allclose(-detector.score_samples(new), expected.max((1, 2)), rtol=1e-3)


def test_what_few_photos_hide_counts_in_all_others_and_scores_leave_one_out():
    """One good photo in twelve is padded; its own leave-one-out score does without the padding."""
    good = [*draw(11, 64, 64), draw(1, 32, 64, seed=3)[0]]
    whole = np.concatenate([np.stack(good[:11]), padded(good[11][None], (32, 64))])
    detector = patches("pad", false_alarm_rate=0.2).fit(good)
    assert detector.pipeline_["features"].ignored_ is None
    embedded = detector.pipeline_["features"].transform(whole).levels[0].astype(float)
    expected = []
    for index in range(12):
        others = np.delete(embedded, index, axis=0)
        distances = plain.distances(others, embedded[[index]], 0.01)
        hidden = hidden_by_hand((32, 64) if index == 11 else SIZE)[None]
        expected.append(plain_maps(distances, hidden, 3.0).max())
    assert_allclose(detector.loo_scores_, expected, rtol=1e-3)


def test_the_colour_of_padding_counts_for_nothing(monkeypatch):
    good, new = draw(14, 32, 64), draw(3, 32, 64, seed=1)
    before = patches("pad", false_alarm_rate=0.2).fit(good)
    scores, maps = before.score_samples(new), before.anomaly_map(new)
    monkeypatch.setattr(placing, "colour_of_nothing", lambda mean, dtype: torch.tensor([255, 0, 9]).to(dtype))
    after = patches("pad", false_alarm_rate=0.2).fit(good)
    assert_array_equal(after.loo_scores_, before.loo_scores_)
    assert_array_equal(after.score_samples(new), scores)
    assert_array_equal(after.anomaly_map(new), maps)


@pytest.mark.parametrize("resize", ["pad", "crop"])
def test_photos_of_the_right_aspect_are_as_with_stretch_to_the_bit(resize):
    good, new = draw(12, 96, 96), draw(3, 32, 32, seed=1)
    mask = np.zeros((96, 96), bool)
    mask[:9, :21] = True
    stretched = small(ignore=mask, false_alarm_rate=0.2).fit(good)
    detector = small(ignore=mask, false_alarm_rate=0.2, resize=resize).fit(good)
    assert_array_equal(detector.loo_scores_, stretched.loo_scores_)
    assert_array_equal(detector.score_samples(new), stretched.score_samples(new))
    assert_array_equal(detector.anomaly_map(new), stretched.anomaly_map(new))
    assert_array_equal(detector.photo_statistics_, stretched.photo_statistics_)


def test_cropping_equals_cropped_photos_and_tells_what_it_cut():
    good, new = draw(12, 32, 160), draw(3, 32, 160, seed=1)
    detector = small(resize="crop", image_size=(32, 64), false_alarm_rate=0.2).fit(good)
    by_hand = small(image_size=(32, 64), false_alarm_rate=0.2).fit(good[:, :, 48:112])
    assert_array_equal(detector.loo_scores_, by_hand.loo_scores_)
    assert_array_equal(detector.score_samples(new), by_hand.score_samples(new[:, :, 48:112]))
    maps = np.stack(detector.anomaly_map(new, original_size=True))
    assert_array_equal(maps[:, :, 48:112], by_hand.anomaly_map(new[:, :, 48:112]))
    assert np.isnan(maps[:, :, :48]).all() and np.isnan(maps[:, :, 112:]).all()
    detector.set_threshold(0)
    masks = np.stack(detector.segment(new, original_size=True))
    assert masks[:, :, 48:112].all() and not masks[:, :, :48].any() and not masks[:, :, 112:].any()


def strips(n_photos, seed, defect=None):
    """Draw line scans of 1 to 20, 24 x 480 pixels, one of which has a blot around a column."""
    photos = draw(n_photos, 24, 480, seed)
    if defect is not None:
        photos[0, 8:16, defect - 5 : defect + 5] = 255
    return photos


@pytest.mark.parametrize(
    ("resize", "image_size"),
    [("pad", (64, 640)), ("pad", (32, 640)), ("stretch", (32, 640)), ("crop", (32, 640))],
)
def test_a_defect_in_a_strip_is_found_in_its_own_place(resize, image_size):
    detector = PaDiMDetector(resize=resize, image_size=image_size, false_alarm_rate=0.1).fit(strips(20, 0))
    for column in (40, 333):
        bad, good = detector.inspect(
            strips(2, 1, defect=column), maps=True, masks=True, regions=True, original_size=True
        )
        assert bad.is_anomaly and bad.score > 2 * good.score
        assert bad.map.shape == bad.mask.shape == (24, 480)
        region = bad.regions[0]
        assert region.peak == bad.score
        assert abs(region.peak_column - column) < 12 and 4 <= region.peak_row <= 20
        assert region.left <= column < region.left + region.width <= 480
        assert bad.mask[region.peak_row, region.peak_column]


def test_labels_marks_and_regions_agree():
    detector = patches("pad", image_size=(64, 64), false_alarm_rate=0.2).fit(draw(12, 36, 64))
    X = draw(4, 36, 64, seed=2)
    X[0, :3, 30:40] = 255  # at its edge, in a patch that is in part padding
    X[1, 20:30, 10:20] = 0
    found = detector.inspect(X, maps=True, masks=True, regions=True)
    assert_array_equal(found.scores, -detector.score_samples(X))
    assert_array_equal(np.stack([one.map for one in found]), detector.anomaly_map(X))
    assert_array_equal([one.mask.any() for one in found], found.labels == -1)
    assert_array_equal([bool(one.regions) for one in found], found.labels == -1)
    assert_array_equal([each.any() for each in detector.segment(X, original_size=True)], found.labels == -1)
    assert all(one.regions[0].peak == one.score for one in found if one.is_anomaly)


def test_statistics_of_a_photo_do_not_count_its_padding():
    good = draw(12, 16, 160)
    rows = [
        small(resize="pad", image_size=(height, 160), false_alarm_rate=0.2).fit(good).photo_statistics_
        for height in (16, 32, 64)
    ]
    assert_array_equal(rows[1], rows[0])
    assert_array_equal(rows[2], rows[0])
    expected = (good / 255 @ [0.299, 0.587, 0.114]).mean((1, 2))
    assert_allclose(np.sort(rows[2][:, 3]), np.sort(expected), rtol=1e-5)


def test_what_is_ignored_goes_the_way_of_the_photo():
    good = draw(12, 32, 160)
    mask = np.zeros((32, 160), bool)
    mask[:16, 80:88], mask[:, :8] = True, True
    pad = small(resize="pad", image_size=(64, 160), ignore=mask, false_alarm_rate=0.2).fit(good)
    features = pad.pipeline_["features"]
    assert_array_equal(features.ignored_[16:48], mask)
    assert features.ignored_[:16].all() and features.ignored_[48:].all()
    assert not features.painted_[:16].any()
    (batch,) = features.batches(good)
    assert (batch.pixels[:, :, 16:32, 80:88] == torch.tensor(COLOUR)[:, None, None]).all()
    assert_array_equal(batch.pixels[:, :, 32:48, 8:].movedim(1, -1), good[:, 16:, 8:])
    maps = np.stack(pad.anomaly_map(good[:2], original_size=True))
    assert (maps[:, mask] == 0).all() and (maps[:, ~mask] > 0).mean() > 0.9
    crop = small(resize="crop", image_size=(32, 64), ignore=mask, false_alarm_rate=0.2).fit(good)
    assert_array_equal(crop.pipeline_["features"].ignored_, mask[:, 48:112])


@pytest.mark.parametrize("resize", ["pad", "crop"])
def test_every_way_to_pass_photos_gives_the_same(resize, tmp_path):
    photos = draw(12, 32, 64)
    paths = []
    for index, photo in enumerate(photos):
        paths.append(str(tmp_path / f"{index:02}.png"))
        Image.fromarray(photo).save(paths[-1])

    def fit(X, **params):
        return small(resize=resize, false_alarm_rate=0.2, batch_size=5, **params).fit(X)

    expected = fit(photos)
    new = draw(3, 32, 64, seed=1)
    scores = expected.score_samples(new)
    ways = {
        "paths": fit(paths),
        "loader": fit(PhotoLoader(range(12), photos.__getitem__)),
        "iterator": fit(photo for photo in photos),
        "memory": fit(paths, memory=str(tmp_path / "memory")),
        "recalled": fit(paths, memory=str(tmp_path / "memory")),
        "jobs": fit(paths, n_jobs=2),
        "grown": small(resize=resize, false_alarm_rate=0.2).partial_fit(photos[:6]).partial_fit(photos[6:]),
    }
    for name, detector in ways.items():
        assert_allclose(detector.score_samples(new), scores, rtol=1e-4, err_msg=name)
        assert_allclose(np.sort(detector.loo_scores_), np.sort(expected.loo_scores_), rtol=1e-4, err_msg=name)
        assert_array_equal(
            detector.pipeline_["features"].ignored_, expected.pipeline_["features"].ignored_, err_msg=name
        )
    maps = ways["recalled"].anomaly_map(paths, original_size=True)
    assert_allclose(maps, expected.anomaly_map(photos, original_size=True), rtol=1e-3, atol=1e-4)
    assert_allclose(ways["jobs"].anomaly_map(paths, original_size=True), maps, rtol=1e-3, atol=1e-4)


def test_memory_keeps_the_ways_apart(tmp_path):
    photos = draw(12, 32, 64)
    for resize in ("stretch", "pad", "crop"):
        kept = small(resize=resize, false_alarm_rate=0.2, memory=str(tmp_path)).fit(photos)
        assert_allclose(kept.loo_scores_, small(resize=resize, false_alarm_rate=0.2).fit(photos).loo_scores_)


def test_what_grows_is_saved_loaded_and_merged(tmp_path):
    photos, new = draw(12, 32, 64), draw(3, 32, 64, seed=1)
    parts = [small(resize="pad", false_alarm_rate=0.2).partial_fit(X) for X in (photos[:6], photos[6:])]
    expected = small(resize="pad", false_alarm_rate=0.2).fit(photos).score_samples(new)
    copies = [small(resize="pad", false_alarm_rate=0.2).partial_fit(X) for X in (photos[:6], photos[6:])]
    assert_allclose(merge(copies).score_samples(new), expected, rtol=1e-4)
    parts[0].save_growth(tmp_path / "growth.npz")
    loaded = small(resize="pad", false_alarm_rate=0.2).load_growth(tmp_path / "growth.npz")
    assert_allclose(loaded.partial_fit(photos[6:]).score_samples(new), expected, rtol=1e-4)
    loaded.forget(photos[8:])
    left = small(resize="pad", false_alarm_rate=0.2).fit(photos[:8])
    assert_allclose(loaded.loo_scores_, left.loo_scores_, rtol=1e-3)
    with pytest.raises(ValueError, match="another resize"):
        small(resize="crop", false_alarm_rate=0.2).load_growth(tmp_path / "growth.npz")
    with pytest.raises(ValueError, match="resize='crop' is not as when photos were learned first, 'pad'"):
        parts[0].set_params(resize="crop").partial_fit(photos)
    with pytest.raises(ValueError, match="another resize"):
        merge([parts[1], small(false_alarm_rate=0.2).partial_fit(photos)])


def test_files_keep_it(tmp_path):
    skops = pytest.importorskip("skops.io")
    detector = small(resize="pad", false_alarm_rate=0.2).fit(draw(12, 32, 64))
    new = draw(3, 32, 64, seed=1)
    scores, maps = detector.score_samples(new), detector.anomaly_map(new, original_size=True)
    file = io.BytesIO()
    joblib.dump(detector, file)
    file.seek(0)
    for loaded in (joblib.load(file), skops.loads(skops.dumps(detector), trusted=TRUSTED_TYPES)):
        assert loaded.resize == loaded.pipeline_["features"].resize_ == "pad"
        assert_array_equal(loaded.score_samples(new), scores)
        assert_array_equal(loaded.anomaly_map(new, original_size=True), maps)


def test_files_of_before_stretch_and_paint_what_they_ignore():
    mask = np.zeros((32, 64), bool)
    mask[:, :20] = True
    detector = small(ignore=mask, false_alarm_rate=0.2).fit(draw(12, 32, 64))
    new = draw(3, 32, 64, seed=1)
    features, old = detector.pipeline_["features"], CNNFeatureTransformer.__new__(CNNFeatureTransformer)
    state = features.__getstate__()
    for name in ("resize", "resize_", "painted_"):
        del state[name]
    old.__setstate__(state)
    assert old.resize == old.resize_ == "stretch"
    for one, other in zip(old.transform(new).levels, features.transform(new).levels, strict=True):
        assert_array_equal(one, other)


def test_growth_of_before_goes_on():
    photos = draw(12, 32, 64)
    detector = small(false_alarm_rate=0.2).partial_fit(photos[:6])
    del detector._growing.parameters["resize"]
    assert_array_equal(
        detector.partial_fit(photos[6:]).loo_scores_,
        small(false_alarm_rate=0.2).partial_fit(photos[:6]).partial_fit(photos[6:]).loo_scores_,
    )


def test_growth_files_of_before_are_of_photos_that_were_stretched():
    refuse_others([{"resize": "'stretch'"}, {}])
    with pytest.raises(ValueError, match="another resize, 'stretch', than part 0, 'pad'"):
        refuse_others([{"resize": "'pad'"}, {}])


def test_photos_that_show_nothing_are_refused_or_skipped():
    good = draw(12, 32, 64)
    thin = np.zeros((2, 400, 3), np.uint8)
    with pytest.warns(UserWarning, match="1 of 13"):
        detector = small(resize="pad", false_alarm_rate=0.2, on_error="skip").fit([*good, thin])
    assert "is of 2 x 400 pixels" in detector.skipped_[12]
    with pytest.warns(
        UserWarning,
        match=r"X\[1\] is of 2 x 400 pixels, and of what the network sees of it, 64 x 64, no patch is left",
    ):
        scores = detector.score_samples([good[0], thin])
    assert np.isnan(scores).tolist() == [False, True]
    with pytest.raises(ValueError, match=r"X\[0\] is of 2 x 400 pixels"):
        small(resize="pad", false_alarm_rate=0.2).fit(good).score_samples([thin])
    with pytest.raises(ValueError, match="resize='pad': of every patch more than a quarter is padding"):
        small(resize="pad").fit([thin] * 12)


def test_photos_that_cannot_be_read_have_no_size(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no photo")
    good = [*draw(12, 32, 64), str(tmp_path / "broken.png")]
    with pytest.warns(UserWarning, match="could not be read"):
        detector = small(resize="pad", false_alarm_rate=0.2, on_error="skip").fit(good)
    assert detector.pipeline_["features"].ignored_[:16].all()
    with pytest.raises(ValueError, match=r"broken\.png"):
        small(resize="pad", false_alarm_rate=0.2).fit(good)


def test_photos_that_arrive_come_again_after_a_look():
    arriving = as_arriving(iter(draw(7, 4, 6)))
    assert arriving.first(3).sizes([0, 1, 2]) == [(4, 6)] * 3
    assert [len(part) for part in arriving.parts(4)] == [4, 3]


def test_other_words_are_refused():
    with pytest.raises(ValueError, match="resize"):
        small(resize="squash").fit(draw(3, 8, 8))


def test_what_cannot_be_combined_is_refused_in_words(tmp_path):
    detector = small(resize="crop", false_alarm_rate=0.2).fit(draw(12, 32, 64))
    with pytest.raises(ValueError, match=r"resize='crop' cannot be exported: .*resize='stretch'"):
        to_onnx(detector, tmp_path / "detector.onnx")


def photos_of(sizes):
    return [draw(1, height, width, seed)[0] for seed, (height, width) in enumerate(sizes)]


def test_a_photo_of_which_padding_and_mask_leave_nothing_is_refused():
    """Each alone leaves something."""
    good = photos_of([(64, 128)] * 12)
    mask = np.zeros((64, 128), dtype=bool)
    mask[:, 36:92] = True
    detector = small(resize="pad", image_size=(64, 128), ignore=mask, false_alarm_rate=0.2).fit(good)
    upright = photos_of([(128, 64)])
    with pytest.raises(ValueError, match=r"X\[0\] is of 128 x 64 pixels, .* no patch is left to judge"):
        detector.predict(upright)
    detector.set_params(on_error="skip")
    with pytest.warns(UserWarning, match="no patch is left"):
        assert np.isnan(detector.score_samples([upright[0], good[0]])).tolist() == [True, False]
    with pytest.warns(UserWarning, match="no patch is left"):
        assert detector.predict(upright).tolist() == [-1]


def test_a_moved_photo_of_which_nothing_is_left_is_refused():
    drawn = make_inspection_images(n_train=12, n_good=0, n_defective=0, image_size=96, max_shift=6).X_train
    wide = [photo[24:72] for photo in drawn]
    params = {"resize": "pad", "image_size": (48, 96), "align": "shift", "false_alarm_rate": 0.2}
    detector = small(**params).fit(wide)
    thin = photos_of([(4, 400)])
    with pytest.raises(ValueError, match=r"X\[0\] is of 4 x 400 pixels, .* no patch is left to judge"):
        detector.score_samples(thin)
    with (
        pytest.warns(UserWarning, match="no patch is left"),
        pytest.warns(UserWarning, match="1 of 13 good photos agree far less"),
    ):
        detector.set_params(on_error="skip").fit([*wide, thin[0]])
    assert list(detector.skipped_) == [len(wide)]
    assert len(detector.loo_scores_) == len(wide)


def test_padding_does_not_lower_epsilon():
    """It is 1 % of the mean variance of what counts, of all channels and fine patches."""
    good = photos_of([(64, 128)] * 12)
    params = {"resize": "pad", "image_size": (128, 128), "epsilon": "auto", "false_alarm_rate": 0.2}
    detector = small(**params).fit(good)
    features, channels, gaussian = detector.pipeline_.named_steps.values()
    levels = [np.asarray(level, dtype=float) for level in channels.transform(features.transform(good)).levels]
    fine = max(level.shape[2] for level in levels)
    variances = [level.var(axis=0, ddof=1).sum(axis=0) for level in levels]
    of_patches = sum(each.repeat(fine // len(each), 0).repeat(fine // len(each), 1) for each in variances)
    side = 128 // fine
    counted = ~features.ignored_.reshape(fine, side, fine, side).any(axis=(1, 3))
    expected = 0.01 * of_patches[counted].mean() / sum(level.shape[1] for level in levels)
    assert gaussian.epsilon_ == pytest.approx(expected, rel=1e-5)
    assert 0.4 < counted.mean() < 0.6


def test_parts_whose_photos_leave_other_places_to_padding_say_so():
    parts = [
        small(resize="pad", image_size=(64, 64)).partial_fit(photos_of([size] * 12))
        for size in ((64, 64), (64, 32))
    ]
    with pytest.raises(ValueError, match="part 1 has another padding, by the sizes of its photos, "):
        merge(parts)

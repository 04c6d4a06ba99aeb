"""The memory that a fit needs: against what it takes, and what is said where it is not there."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skpadim import FeaturePyramid, PatchGaussian, needs
from skpadim.kernels import scoring
from skpadim.kernels.moments import empty_moments
from skpadim.needs import Plan, check_room, fit_bytes, score_bytes

#: ResNet-18's, 100 channels at 224 px.
SHAPES = ((14, 56, 56), (29, 28, 28), (57, 14, 14))
NAMES = ("layer1", "layer2", "layer3")


def plain_moments(shapes) -> int:
    """8 bytes for every mean and product of the patches of layers whose sides divide each other."""
    total = above = 0
    for channels, height, width in sorted(shapes, key=lambda shape: shape[1]):
        total += 8 * height * width * channels * (1 + above + channels)
        above += channels
    return total


def large(**params) -> Plan:
    """A plan whose need is a few GB."""
    shapes = tuple((c, 8 * h, 8 * w) for c, h, w in SHAPES)
    return Plan(shapes, (1792, 1792), **({"n_images": 300} | params))


@pytest.mark.parametrize("shapes", [SHAPES, ((40, 64, 32),), ((5, 8, 8), (6, 8, 8), (7, 4, 4))])
def test_moments_dominate_a_large_fit(shapes):
    """Of no calibration sample to speak of, nearly all is moments, and their half, the result."""
    tensors = empty_moments(sorted(shapes, key=lambda shape: shape[1]), torch.device("cpu"))
    blocks = [tensor for pair in tensors.comoments for tensor in pair]
    assert sum(tensor.nbytes for tensor in (*tensors.means, *blocks)) == plain_moments(shapes)
    plan = Plan(
        tuple((8 * c, h, w) for c, h, w in shapes), (64, 64), n_images=3, n_calibration=1, batch_size=1
    )
    moments = plain_moments(plan.shapes)
    assert 1.2 * moments < fit_bytes(plan) < 1.8 * moments + 60e6


def test_each_calibration_photo_counts_its_features_and_distances():
    needs = [fit_bytes(Plan(SHAPES, (224, 224), n_images=n)) for n in (400, 401)]
    assert needs[1] - needs[0] == 4 * sum(c * h * w for c, h, w in SHAPES) + 8 * 56 * 56
    assert fit_bytes(Plan(SHAPES, (224, 224), n_images=9000)) == fit_bytes(
        Plan(SHAPES, (224, 224), n_images=500)
    )


def test_order_of_layers_does_not_matter():
    assert fit_bytes(Plan(SHAPES[::-1], (224, 224), 50)) == fit_bytes(Plan(SHAPES, (224, 224), 50))


def test_activations_count_as_they_pass():
    def need(**params):
        return fit_bytes(Plan(((1, 4, 4),), (16, 16), n_images=64, batch_size=64, **params))

    assert need(activation_bytes=10**7) - need() > 64 * 10**7 - 10**6
    assert need(activation_bytes=10**7, at_a_time_bytes=3 * 10**7) < 5 * 10**7


@pytest.mark.parametrize(
    ("shapes", "n_images"),
    [(((30, 32, 32), (50, 16, 16)), 64), (((32, 32, 32),), 192), (((96, 16, 16),), 128)],
)
def test_need_against_the_profiler(shapes, n_images):
    """A fit's tensors take at their peak what is said, to a fifth."""
    rng = np.random.default_rng(0)
    # Numbers of images that fill the blocks of the sample: of these only what is used takes memory.
    batches = [
        [torch.from_numpy(rng.normal(size=(16, *shape)).astype(np.float32)) for shape in shapes]
        for _ in range(n_images // 16)
    ]
    size = (shapes[0][1] * 4, shapes[0][2] * 4)
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        PatchGaussian(device="cpu").fit_stream(iter(batches), size)
    # Batches were there before, and no network gives them.
    assert_allclose(fit_bytes(Plan(shapes, size, n_images, batch_size=1)), _peak_bytes(profile), rtol=0.2)


@pytest.mark.parametrize(("shapes", "n_images"), [(((30, 32, 32), (50, 16, 16)), 64), (((96, 16, 16),), 128)])
def test_need_of_growing_against_the_profiler(shapes, n_images):
    """What is carried stays while factors are made and laid out."""
    rng = np.random.default_rng(0)
    X = FeaturePyramid([rng.normal(size=(n_images, *shape)).astype(np.float32) for shape in shapes])
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        PatchGaussian(device="cpu").partial_fit(X).threshold()
    plan = Plan(shapes, X.image_size, n_images, batch_size=1, n_spare=12)
    assert_allclose(fit_bytes(plan), _peak_bytes(profile), rtol=0.2)


@pytest.mark.parametrize("n_rows", [4, 100])
def test_need_of_groups_against_the_profiler(n_rows):
    """Groups that are left out at once, few and many, take what is said."""
    rng = np.random.default_rng(0)
    X = FeaturePyramid([rng.normal(size=(200, *shape)).astype(np.float32) for shape in SHAPES])
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        PatchGaussian(device="cpu").fit(X, groups=np.arange(200) // n_rows)
    plan = Plan(SHAPES, X.image_size, 200, batch_size=1, largest_group=n_rows)
    assert_allclose(fit_bytes(plan), _peak_bytes(profile), rtol=0.15)


def test_large_groups_need_more():
    plan = Plan(SHAPES, (224, 224), n_images=500)
    left_alone = 8 * 500 * 56**2  # distances, beside those of the groups
    assert fit_bytes(replace(plan, largest_group=20)) < fit_bytes(plan) + left_alone + 5e7
    # Twelve times the features of 500 photos, in float64, under a coarse node: of 4 x 4 patches.
    more = fit_bytes(replace(plan, largest_group=500)) - fit_bytes(replace(plan, largest_group=1))
    assert 0 < more - left_alone <= 12 * 8 * 100 * 16 * 500


def test_jobs_send_moments_that_wait_for_each_other():
    def need(n_images, n_jobs):
        return fit_bytes(Plan(SHAPES, (224, 224), n_images, n_calibration=3, batch_size=32, n_jobs=n_jobs))

    moments = plain_moments(SHAPES)
    assert need(512, 4) == need(512, 2) > need(512, 1)
    # Sixteen parts double four times.
    assert need(512, 2) - (need(32, 2)) == 4 * moments
    assert 9 * moments < need(512, 2) < 9.1 * moments


def test_growing_needs_more():
    plan = Plan(SHAPES, (224, 224), n_images=600)
    per_photo = 4 * sum(c * h * w for c, h, w in SHAPES)
    assert fit_bytes(replace(plan, n_spare=12)) - fit_bytes(plan) >= 12 * per_photo


def _peak_bytes(profile):
    """Return the largest total of tensors alive at once, as the profiler saw them."""
    sizes = [
        event.nbytes()
        for event in sorted(
            (e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"),
            key=lambda event: event.start_ns(),
        )
    ]
    return int(np.cumsum(sizes).max())


def test_enough_or_unknown_memory_passes():
    plan = large()
    check_room(plan, int(0.91 * fit_bytes(plan)), NAMES)
    check_room(plan, None, NAMES)


def test_too_little_memory_names_the_way_out():
    plan = large(n_images=40)
    with pytest.raises(ValueError, match=r"takes about .* GB of memory on cuda:1 to fit") as caught:
        check_room(plan, 4 * 10**9, NAMES, device="cuda:1")
    message = str(caught.value)
    assert message.startswith("image_size=1792 with 100 channels takes about 6.")
    assert "4.0 GB are there. Lower one of these:" in message
    for parameter in ("image_size=1344", "n_channels=75", "layers=['layer2', 'layer3']"):
        assert f"with {parameter} it takes " in message
    assert "n_calibration" not in message
    needs = [float(need) for need in re.findall(r"it takes ([\d.]+) GB", message)]
    assert needs
    assert all(need <= 4 for need in needs)


def test_a_way_out_is_mild_and_what_it_says():
    """The first of the lower values that fits, and its need is that of its own plan."""
    plan = large(n_images=500)
    available = int(0.79 * fit_bytes(plan))
    with pytest.raises(ValueError, match="n_calibration=200") as caught:
        check_room(plan, available, NAMES)
    smaller = large(n_images=500, n_calibration=200)
    assert f"with n_calibration=200 it takes {fit_bytes(smaller) / 1e9:.1f} GB" in str(caught.value)
    assert "image_size=1344" in str(caught.value)


@pytest.mark.parametrize(
    ("largest_group", "n_that_fit", "proposed"),
    [(1, 100, ["100"]), (50, 100, ["100"]), (51, 100, []), (100, 200, ["200"]), (101, 200, [])],
)
def test_a_sample_that_groups_would_refuse_is_no_way_out(largest_group, n_that_fit, proposed):
    """Two groups, as large as they may be, have to fit into it."""
    plan = large(n_images=500, largest_group=largest_group)
    with pytest.raises(ValueError, match="Lower one of these") as caught:
        check_room(plan, fit_bytes(replace(plan, n_calibration=n_that_fit)), NAMES)
    assert re.findall(r"n_calibration=(\d+)", str(caught.value)) == proposed


def test_a_coarser_grid_is_a_way_out_where_cells_are_whole():
    plan = large(n_images=500)
    with pytest.raises(ValueError, match="Lower one of these") as caught:
        check_room(plan, 6 * fit_bytes(plan) // 10, NAMES)
    coarser = replace(plan, shapes=((14, 224, 224), (29, 224, 224), (57, 112, 112)))
    assert f"with patch_stride=8 it takes {fit_bytes(coarser) / 1e9:.1f} GB" in str(caught.value)
    odd = Plan(((60, 511, 255),), (2044, 1020), n_images=10)
    with pytest.raises(ValueError, match="Lower one of these") as caught:
        check_room(odd, fit_bytes(odd) // 3, ["layer1"])
    assert "patch_stride" not in str(caught.value)


def test_photos_in_tiles_take_what_their_tiles_take():
    plan = Plan(((1, 4, 4),), (1792, 1792), 3, batch_size=1, activation_bytes=10**9, at_a_time_bytes=2**25)
    in_tiles = replace(plan, tile_bytes=10**8)
    assert fit_bytes(plan) - fit_bytes(in_tiles) == 15 * 10**8 - 15 * 10**7
    # Photos that are so small as to pass whole are no larger for it.
    assert fit_bytes(in_tiles.at_size(1 / 8)) == fit_bytes(plan.at_size(1 / 8))


def test_large_photos_come_few_at_a_time_and_are_packed():
    """Of 16 megapixels two make a batch, and what is fitted is there once."""
    plan = Plan(((5, 256, 256),), (4096, 4096), n_images=50)
    assert fit_bytes(plan) == fit_bytes(replace(plan, batch_size=2))
    small = replace(plan, image_size=(256, 256))
    unpacked = 4 * 256 * 256 * 25
    assert score_bytes(replace(small, batch_size=1)) > unpacked * 1.6
    per_photo = 4 * (3 * 5 * 256**2 + 2 * 256**2 + 2 * 4096**2) + 6 * 4096**2
    packed = 4 * 256 * 256 * (15 + 2 * 5)
    assert score_bytes(replace(plan, batch_size=1)) == packed + per_photo


@pytest.mark.parametrize("unpacked_pixels", [0, 2**20])
def test_need_of_scoring_against_the_profiler(unpacked_pixels, monkeypatch):
    monkeypatch.setattr(scoring, "UNPACKED_PIXELS", unpacked_pixels)
    monkeypatch.setattr(needs, "UNPACKED_PIXELS", unpacked_pixels)
    shapes, size = ((30, 64, 64), (50, 32, 32)), (128, 128)
    rng = np.random.default_rng(0)
    X = FeaturePyramid([rng.normal(size=(6, *shape)).astype(np.float32) for shape in shapes], None, size)
    gaussian = PatchGaussian(device="cpu", false_alarm_rate=0.2).fit(X)
    held = sum(part.nbytes for part in (*gaussian.whitening_, *gaussian.location_))
    vars(gaussian).pop("_scorer")
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        gaussian.score_samples(X[:1])
    expected = score_bytes(Plan(shapes, size, 6, batch_size=1))
    assert_allclose(held + _peak_bytes(profile), expected, rtol=0.25)


def test_cropped_and_oblong_images_are_named_as_given():
    plan = Plan(((60, 512, 256),), (2048, 1024), n_images=10)
    with pytest.raises(ValueError, match=re.escape("crop_size=(2048, 1024) with 60")) as caught:
        check_room(plan, fit_bytes(plan) // 3, ["layer1"], size_name="crop_size")
    assert "crop_size=(1024, 512)" in str(caught.value)
    assert "layers=" not in str(caught.value)


def test_where_nothing_is_enough_alone():
    with pytest.raises(
        ValueError, match="Lower image_size, n_channels and layers: none of them is enough alone"
    ):
        check_room(large(), 10**6, NAMES)

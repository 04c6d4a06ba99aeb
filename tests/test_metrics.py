"""Pixel-level scores against their plain definitions, scikit-learn and anomalib."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy import ndimage
from scipy.integrate import quad
from sklearn.metrics import auc, roc_auc_score

from skpadim.datasets import make_inspection_images
from skpadim.metrics import (
    pimo_curve,
    pimo_score,
    pixel_roc_auc_score,
    pro_curve,
    pro_score,
)

# Printed by `python benchmarks/metrics.py --peer` with anomalib 2.7.0, for draw_scene().
# Its AUPRO is the same definition (from 2.3 on; before, the curve ended elsewhere). Its AUPIMO takes
# 300,000 evenly spaced thresholds, and starts and ends at those whose rates come next to the range's:
# the good images drawn have 200,000 pixels, so that some threshold gives either rate exactly.
ANOMALIB_PRO = {0.05: 0.665360, 0.3: 0.843223, 1.0: 0.938497}
ANOMALIB_PRO_TIED = {0.05: 0.656966, 0.3: 0.837779, 1.0: 0.936303}
ANOMALIB_PIMO = {
    (1e-5, 1e-4): "0.247947 0.036184 0.207834 0.22676 0.636364 0.939413 0.762148 0 0 0.168477",
    (1e-3, 1e-1): "0.590734 0.401749 0.738647 0.641367 0.637457 0.952321 0.918271 0.156091 0.174296 0.596147",
}


def draw_scene(n_good=20, n_defective=10, side=100, *, n_levels=None, seed=0):
    """Draw masks (good images first) and float32 maps, on request of few levels: many ties.

    A defective image has one to three rectangles; the last touches another square at a corner.
    """
    rng = np.random.default_rng(seed)
    masks = np.zeros((n_good + n_defective, side, side), dtype=bool)
    maps = np.empty(masks.shape, dtype=np.float32)
    for mask, map_ in zip(masks, maps, strict=True):
        noise = ndimage.gaussian_filter(rng.normal(size=mask.shape), side / 64, mode="wrap")
        map_[:] = noise / noise.std()
    for mask, map_ in zip(masks[n_good:], maps[n_good:], strict=True):
        for _ in range(rng.integers(1, 4)):
            top, left = rng.integers(0, side * 3 // 4, size=2)
            height, width = rng.integers(side // 25, side // 5, size=2)
            mask[top : top + height, left : left + width] = True
            map_[top : top + height, left : left + width] += rng.uniform(0.5, 6)
        bottom, right = top + height, left + width
        mask[bottom : bottom + side // 25, right : right + side // 25] = True
    if n_levels is not None:
        maps = np.round(maps * (n_levels / 8)).astype(np.float32)
    return masks, maps


def plain_regions(mask):
    """Flood-fill the mask by the king's moves; a boolean array per region."""
    left = {(int(row), int(column)) for row, column in zip(*np.nonzero(mask), strict=True)}
    while left:
        region, front = np.zeros_like(mask), [left.pop()]
        while front:
            row, column = front.pop()
            region[row, column] = True
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            front.extend(near)
        yield region


def plain_curves(maps, normals, anomalies):
    """Loop over all thresholds: rate averaged over normals, overlap of each anomaly.

    Both are lists of (image, pixels of it).
    """
    thresholds = np.unique(np.concatenate([np.ravel(map_) for map_ in maps]))[::-1]
    rates, overlaps = [0.0], [np.zeros(len(anomalies))]
    for threshold in thresholds:
        rates.append(np.mean([np.mean(maps[i][pixels] >= threshold) for i, pixels in normals]))
        overlaps.append(np.array([np.mean(maps[i][pixels] >= threshold) for i, pixels in anomalies]))
    return np.array(rates), np.array(overlaps).T


def plain_area(rates, overlap, low, high, density):
    """Integrate the straight pieces of a curve times a density, numerically."""
    area = 0.0
    for x0, x1, y0, y1 in zip(rates, rates[1:], overlap, overlap[1:], strict=False):
        start, stop = max(x0, low), min(x1, high)
        if start < stop:
            slope = (y1 - y0) / (x1 - x0)
            area += quad(lambda x: (y0 + slope * (x - x0)) * density(x), start, stop)[0]  # noqa: B023
    return area


def plain_pro(masks, maps, max_fpr):
    anomalies = [(i, region) for i, mask in enumerate(masks) for region in plain_regions(mask)]
    # One image that holds them all: the rate is of all normal pixels together.
    pixels = np.concatenate([map_[~mask] for mask, map_ in zip(masks, maps, strict=True)])
    rates, overlaps = plain_curves([*maps, pixels], [(len(maps), slice(None))], anomalies)
    return plain_area(rates, overlaps.mean(axis=0), 0, max_fpr, lambda x: 1) / max_fpr


def plain_pimo(masks, maps, low, high):
    normals = [(i, slice(None)) for i, mask in enumerate(masks) if not mask.any()]
    defective = [i for i, mask in enumerate(masks) if mask.any()]
    rates, overlaps = plain_curves(maps, normals, [(i, masks[i]) for i in defective])
    scores = np.full(len(masks), np.nan)
    for i, overlap in zip(defective, overlaps, strict=True):
        scores[i] = plain_area(rates, overlap, low, high, lambda x: 1 / x) / np.log(high / low)
    return scores


def flat(masks, maps):
    return np.concatenate([m.ravel() for m in masks]), np.concatenate([m.ravel() for m in maps])


@st.composite
def scenes(draw):
    """Two to four images of various sizes, the first good and the second defective; many ties."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_levels = draw(st.sampled_from([2, 5, 1000]))
    masks, maps = [], []
    for i in range(draw(st.integers(2, 4))):
        size = rng.integers(2, 7, size=2)
        masks.append(rng.random(size) < (0, 0.4, rng.random(), 0)[i])
        maps.append(rng.integers(n_levels, size=size).astype(np.float32) + masks[-1])
    masks[1][0, 0], masks[1][-1, -1] = True, False
    return masks, maps


rates_drawn = st.floats(0.01, 0.9)


@settings(deadline=None, max_examples=60)
@given(scenes())
def test_pixel_roc_auc_is_that_of_sklearn(scene):
    assert_allclose(pixel_roc_auc_score(*scene), roc_auc_score(*flat(*scene)), rtol=1e-12)


@settings(deadline=None, max_examples=60)
@given(scenes(), rates_drawn | st.just(1.0))
def test_pro_is_its_definition(scene, max_fpr):
    assert_allclose(pro_score(*scene, max_fpr=max_fpr), plain_pro(*scene, max_fpr), rtol=1e-9)


@pytest.mark.filterwarnings("ignore:fpr_range starts at")
@settings(deadline=None, max_examples=60)
@given(scenes(), rates_drawn, rates_drawn)
def test_pimo_is_its_definition(scene, low, width):
    high = min(low + width, 1.0)
    scores = pimo_score(*scene, fpr_range=(low, high))
    assert_allclose(scores, plain_pimo(*scene, low, high), rtol=1e-9, atol=1e-12)


def test_pro_of_equal_regions_is_the_partial_area_of_sklearn():
    rng = np.random.default_rng(0)
    masks = np.zeros((40, 50, 50), dtype=bool)
    masks[:25, 10:20, 30:45] = True
    maps = rng.normal(size=masks.shape) + masks
    standardised = roc_auc_score(*flat(masks, maps), max_fpr=0.3)  # McClish's
    expected = (2 * standardised - 1) * (1 - 0.15) + 0.15
    assert_allclose(pro_score(masks, maps), expected, rtol=1e-12)


@pytest.mark.parametrize("max_fpr", [0.05, 0.3, 1.0])
def test_pro_is_that_of_anomalib(max_fpr):
    smooth, tied = draw_scene(), draw_scene(n_levels=16)
    assert_allclose(pro_score(*smooth, max_fpr=max_fpr), ANOMALIB_PRO[max_fpr], atol=1e-5)
    assert_allclose(pro_score(*tied, max_fpr=max_fpr), ANOMALIB_PRO_TIED[max_fpr], atol=1e-5)


@pytest.mark.parametrize("fpr_range", list(ANOMALIB_PIMO))
def test_pimo_is_that_of_anomalib(fpr_range):
    masks, maps = draw_scene()
    scores = pimo_score(masks, maps, fpr_range=fpr_range)
    assert np.isnan(scores[:20]).all()
    assert_allclose(scores[20:], np.fromstring(ANOMALIB_PIMO[fpr_range], sep=" "), atol=1e-4)


def test_touching_at_a_corner_is_one_region():
    mask = np.array([[1, 0, 0, 0], [0, 1, 0, 1]])
    map_ = np.array([[9, 1, 2, 3], [0, 4, 5, 8]])
    # Regions {9, 4} and {8}; the normal pixels 5 3 2 1 0 come after 3/4 and, from 5 on, after 1.
    fpr, pro, thresholds = pro_curve([mask], [map_], max_fpr=0.4)
    assert_allclose(fpr, [0, 0, 0, 0.2, 0.2, 0.4])
    assert_allclose(pro, [0, 0.5 * 0.5, 0.75, 0.75, 1, 1])
    assert thresholds[0] == np.inf
    assert_array_equal(thresholds[[1, 2, 4]], [9, 8, 4])
    assert_allclose(pro_score([mask], [map_], max_fpr=0.4), (0.75 + 1) / 2)


@pytest.mark.parametrize("n_levels", [None, 16])
@pytest.mark.parametrize("max_fpr", [1e-5, 0.1, 1.0])
def test_pro_curve_holds_what_its_thresholds_give(n_levels, max_fpr):
    masks, maps = draw_scene(4, 3, 40, n_levels=n_levels)
    fpr, pro, thresholds = pro_curve(masks, maps, max_fpr=max_fpr)
    regions = [(i, region) for i, mask in enumerate(masks) for region in plain_regions(mask)]
    for rate, overlap, threshold in list(zip(fpr, pro, thresholds, strict=True))[:-1]:
        assert rate == pytest.approx(np.mean(maps[~masks] >= threshold))
        hits = [np.mean(maps[i][region] >= threshold) for i, region in regions]
        assert overlap == pytest.approx(np.mean(hits))
    assert (fpr[0], pro[0], thresholds[0]) == (0, 0, np.inf)
    assert fpr[-1] == max_fpr
    assert np.mean(maps[~masks] >= thresholds[-1]) >= max_fpr
    assert np.all(np.diff(fpr) >= 0)
    assert np.all(np.diff(pro) >= 0)
    assert thresholds.dtype == np.float32
    assert np.all(np.diff(thresholds) < 0)
    assert pro_score(masks, maps, max_fpr=max_fpr) == pytest.approx(auc(fpr, pro) / max_fpr)


def test_whole_pro_curve_ends_at_the_least_score_of_all():
    fpr, pro, thresholds = pro_curve([[[1, 0, 1]]], [[[0.5, 0.4, 0.1]]], max_fpr=1)
    assert (fpr[-1], pro[-1], thresholds[-1]) == (1, 1, 0.1)


@pytest.mark.parametrize("n_levels", [None, 16])
def test_pimo_curve_holds_what_its_thresholds_give(n_levels):
    masks, maps = draw_scene(4, 3, 40, n_levels=n_levels)
    fpr, overlap, thresholds = pimo_curve(masks, maps, fpr_range=(0.01, 0.2))
    assert overlap.shape == (7, len(fpr)) == (7, len(thresholds))
    assert np.isnan(overlap[:4]).all()
    assert (fpr[0], fpr[-1]) == (0.01, 0.2)
    for point in range(1, len(fpr) - 1):
        assert fpr[point] == pytest.approx(np.mean(maps[:4] >= thresholds[point]))
        hits = [np.mean(maps[i][masks[i]] >= thresholds[point]) for i in (4, 5, 6)]
        assert_allclose(overlap[4:, point], hits)
    assert np.mean(maps[:4] >= thresholds[0]) <= 0.01
    assert np.mean(maps[:4] >= thresholds[-1]) >= 0.2


def test_separable_inverted_and_constant_maps():
    masks, maps = draw_scene(3, 2, 30)
    for score, chance in [
        (pixel_roc_auc_score, 0.5),
        (pro_score, 0.15),
        (lambda *scene: np.nanmean(pimo_score(*scene, fpr_range=(0.01, 0.1))), 0.09 / np.log(10)),
    ]:
        assert score(masks, masks) == 1
        assert score(masks, ~masks) == 0
        assert score(masks, np.zeros_like(maps)) == pytest.approx(chance)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float16, np.float64])
def test_dtype_of_the_maps_does_not_matter(dtype):
    masks, maps = draw_scene(3, 2, 30, n_levels=16)
    maps -= maps.min()
    others = maps.astype(dtype)
    assert_array_equal(others, maps)
    for score in (pixel_roc_auc_score, pro_score):
        assert score(masks, others) == score(masks, maps)
    options = {"fpr_range": (0.01, 0.1)}
    assert_array_equal(pimo_score(masks, others, **options), pimo_score(masks, maps, **options))


@pytest.mark.filterwarnings("ignore:fpr_range starts at")
def test_maps_of_mixed_dtype_are_compared_at_the_finer():
    masks = [None, [[1, 0]]]
    maps = [np.array([[1, 0]], dtype=np.float32), np.array([[1 + 1e-12, 0]])]
    assert_array_equal(pimo_score(masks, maps, fpr_range=(0.1, 0.4)), [np.nan, 1])
    assert pro_score(masks, maps) == 1


def all_scores(masks_of, maps_of):
    """All three, of the masks and maps that two functions make anew for each."""
    return [
        pixel_roc_auc_score(masks_of(), maps_of()),
        pro_score(masks_of(), maps_of()),
        *pimo_score(masks_of(), maps_of(), fpr_range=(0.01, 0.1)),
    ]


def test_generator_may_reuse_its_buffer():
    masks, maps = draw_scene(3, 2, 30)

    def reusing(images):
        buffer = np.empty_like(images[0])
        for image in images:
            buffer[:] = image
            yield buffer

    streamed = all_scores(lambda: reusing(masks), lambda: reusing(maps))
    assert_array_equal(streamed, all_scores(lambda: masks, lambda: maps))


@pytest.mark.parametrize("score", [pixel_roc_auc_score, pro_score, pimo_score])
def test_ten_bytes_a_pixel_are_enough(score):
    mask, n_images = np.zeros((200, 200), dtype=bool), 40
    mask[:40, :40] = True
    rng = np.random.default_rng(0)
    maps = (rng.random(mask.shape, dtype=np.float32) for _ in range(n_images))
    masks = (mask if i % 2 else None for i in range(n_images))
    tracemalloc.start()
    score(masks, maps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * n_images * mask.size


def test_what_a_mask_may_be(tmp_path):
    masks, maps = draw_scene(3, 2, 30)
    expected = all_scores(lambda: masks, lambda: maps)

    def write(mode, name):
        paths = [tmp_path / f"{i}{name}" for i in range(len(masks))]
        for mask, path in zip(masks, paths, strict=True):
            Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(path)
        return paths

    for form in (
        masks.astype(np.uint8),
        masks.astype(np.uint8) * 255,
        masks.astype(np.float32),
        [mask if mask.any() else None for mask in masks],
        [mask.tolist() for mask in masks],
        write("L", "grey.png"),
        write("1", "bits.png"),
        write("RGB", "colour.bmp"),
        [str(path) for path in write("LA", "alpha.png")],
    ):
        assert_array_equal(all_scores(lambda form=form: form, lambda: maps), expected)


def test_masks_of_a_data_set(tmp_path):
    options = {"n_train": 0, "n_good": 2, "n_defective": 4, "image_size": 64}
    in_memory = make_inspection_images(**options).masks_test
    on_disk = make_inspection_images(**options, folder=tmp_path).masks_test
    maps = np.random.default_rng(0).normal(size=in_memory.shape)
    assert on_disk[0] is None
    assert_array_equal(all_scores(lambda: on_disk, lambda: maps), all_scores(lambda: in_memory, lambda: maps))


def test_rates_too_small_for_the_good_images_are_warned_of():
    masks, maps = draw_scene(3, 2, 30)
    with pytest.warns(UserWarning, match="1e-05, less than one of the 2700 pixels") as caught:
        scores = pimo_score(masks, maps)
    assert caught[0].filename == __file__
    above_all = [np.mean(maps[i][masks[i]] > maps[:3].max()) for i in (3, 4)]
    assert_allclose(scores[3:], above_all)


MASK = np.eye(3, dtype=np.uint8)
MAP = np.arange(9.0).reshape(3, 3)


def test_nothing_to_find_and_nothing_to_spare():
    for score in (pixel_roc_auc_score, pro_score):
        with pytest.raises(ValueError, match="no pixel of the 2 images is anomalous"):
            score([None, MASK * 0], [MAP, MAP])
        with pytest.raises(ValueError, match="no pixel of the 1 images is normal"):
            score([MASK | 1], [MAP])
        with pytest.raises(ValueError, match="no pixel of the 0 images is anomalous"):
            score([], [])
    with pytest.raises(ValueError, match="2 of 2 images are good"):
        pimo_score([None, MASK * 0], [MAP, MAP])
    with pytest.raises(ValueError, match=r"0 of 1 images are good.*one good and one defective"):
        pimo_score([MASK], [MAP])


def test_rates_out_of_range():
    for max_fpr in (0, 1.1, "0.3"):
        with pytest.raises(ValueError, match="'max_fpr' parameter"):
            pro_score([MASK], [MAP], max_fpr=max_fpr)
    for fpr_range in ((0, 0.1), (0.2, 0.1), (0.1, 2), (0.1,), 0.1, ("a", "b"), (np.nan, 0.1)):
        with pytest.raises(ValueError, match=r"fpr_range=.* expected \(low, high\)"):
            pimo_score([None, MASK], [MAP, MAP], fpr_range=fpr_range)

"""FeaturePyramid against numpy and torch; CNNFeatureTransformer against the network run by hand."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from torch import nn
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

from plain import draw_pyramid
from skpadim import CNNFeatureTransformer, FeaturePyramid, PatchGaussian, RandomChannelSelector
from skpadim.network.extractor import normalised_pixels

N_IMAGES = 6


def numbered_pyramid():
    """Return a pyramid in which no two numbers are equal."""
    shapes = [(N_IMAGES, 2, 5, 4), (N_IMAGES, 3, 2, 2), (N_IMAGES, 1, 1, 3)]
    edges = np.cumsum([0, *(np.prod(shape) for shape in shapes)])
    levels = [
        np.arange(start, stop, dtype=np.float32).reshape(shape)
        for start, stop, shape in zip(edges, edges[1:], shapes, strict=False)
    ]
    return FeaturePyramid(levels, ("a", "b", "c"), (40, 32))


def embedding_of(levels):
    """Return the paper's embedding as torch computes it."""
    size = tuple(max(level.shape[axis] for level in levels) for axis in (2, 3))
    parts = [
        functional.interpolate(torch.from_numpy(np.array(level, order="C")), size, mode="nearest")
        for level in levels
        if level.shape[1]
    ]
    return torch.cat(parts, dim=1).numpy()


MASK = np.array([True, False, True, True, False, False])
KEYS = {
    "slice": slice(1, 4),
    "step": slice(None, None, -2),
    "all": slice(None),
    "beyond the end": slice(4, 99),
    "empty slice": slice(3, 3),
    "list": [4, 0, 0],
    "array": np.array([5, 2, 3], dtype=np.int32),
    "negative": np.array([-1, -6]),
    "range": range(0, 6, 3),
    "mask": MASK,
    "mask as a list": MASK.tolist(),
    "mask of nothing": np.zeros(N_IMAGES, dtype=bool),
    "empty list": [],
    "empty array": np.array([], dtype=np.int64),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_images_are_indexed_as_numpy_indexes_rows(key):
    pyramid = numbered_pyramid()
    numpy_key = np.empty(0, dtype=int) if isinstance(key, list) and not key else key
    for chosen in (pyramid[key], pyramid[key, ...]):
        assert (chosen.layer_names, chosen.image_size) == (("a", "b", "c"), (40, 32))
        for found, level in zip(chosen.levels, pyramid.levels, strict=True):
            assert_array_equal(found, level[numpy_key], strict=True)
        assert_array_equal(np.asarray(chosen), np.asarray(pyramid)[numpy_key], strict=True)


@pytest.mark.parametrize("key", [0, 5, -1, -6, np.int64(2), np.array(3)[()]])
def test_an_int_gives_a_pyramid_of_one_image(key):
    pyramid = numbered_pyramid()
    for chosen in (pyramid[key], pyramid[key, ...]):
        assert len(chosen) == 1
        for found, level in zip(chosen.levels, pyramid.levels, strict=True):
            assert_array_equal(found[0], level[key])


@pytest.mark.parametrize(
    "key",
    [6, -7, 99, [0, 6], [0.5], "a", MASK[:-1], (0, 1), (..., 0), (slice(2), slice(2)), None, True, [[0, 1]]],
)
def test_what_is_no_image_is_refused(key):
    with pytest.raises(IndexError):
        numbered_pyramid()[key]


def test_iteration_ends():
    assert [int(single.levels[2][0, 0, 0, 0]) for single in numbered_pyramid()] == [
        int(level[0, 0, 0]) for level in numbered_pyramid().levels[2]
    ]


sides = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), sides, sides), min_size=1, max_size=3),
    st.integers(1, 3),
    st.booleans(),
)
@example([(2, 54, 54), (3, 27, 27), (1, 13, 13)], 1, True)
@example([(2, 13, 13), (3, 54, 54)], 2, False)
@example([(2, 45, 87), (3, 87, 45)], 1, False)
def test_as_an_array_it_is_the_papers_embedding_bit_for_bit(shapes, n_images, channels_last):
    rng = np.random.default_rng(0)
    levels = [rng.normal(size=(n_images, *shape)).astype(np.float32) for shape in shapes]
    if channels_last:  # as a network on the CPU leaves them
        levels = [np.ascontiguousarray(level.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for level in levels]
    pyramid = FeaturePyramid(levels)
    array = np.asarray(pyramid)
    assert (array.shape, array.dtype) == (pyramid.shape, pyramid.dtype)
    assert (array.ndim, len(array)) == (pyramid.ndim, len(pyramid))
    if array.size:
        assert_array_equal(array, embedding_of(levels), strict=True)


def test_array_protocol():
    pyramid = numbered_pyramid()
    expected = embedding_of(pyramid.levels)
    assert_array_equal(np.asarray(pyramid, dtype=np.float64), expected.astype(np.float64), strict=True)
    assert_array_equal(np.asarray(pyramid, np.float16), expected.astype(np.float16), strict=True)
    copy = np.array(pyramid, copy=True)
    copy[:] = -1
    single = FeaturePyramid(pyramid.levels[:1])
    np.asarray(single)[:] = -1
    assert_array_equal(np.asarray(pyramid), expected)
    with pytest.raises(ValueError, match="only by copying"):
        np.array(pyramid, copy=False)


def test_levels_of_several_types_meet_in_the_widest():
    levels = [np.ones((2, 1, 2, 2), np.float32), np.full((2, 1, 1, 1), 1 / 3)]
    pyramid = FeaturePyramid(levels)
    assert pyramid.dtype == np.float64
    array = np.asarray(pyramid)
    assert array.dtype == np.float64
    assert_array_equal(array[:, 1], 1 / 3)


def test_read_only_levels_are_read():
    pyramid = numbered_pyramid()
    for level in pyramid.levels:
        level.flags.writeable = False
    assert_array_equal(np.asarray(pyramid), embedding_of(pyramid.levels))


def test_defaults_and_text():
    pyramid = FeaturePyramid([np.zeros((4, 8, 6, 3)), np.ones((4, 16, 2, 5))])
    assert pyramid.layer_names == ("level0", "level1")
    assert pyramid.shape == (4, 24, 6, 5)
    assert pyramid.image_size == (6, 5)
    assert repr(pyramid) == "FeaturePyramid(4 images; level0: 8x6x3, level1: 16x2x5)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "at least one"),
        (([np.zeros((3, 4))],), r"\(3, 4\)"),
        (([np.zeros((3, 1, 2, 2)), np.zeros((4, 1, 2, 2))],), r"\[3, 4\]"),
        (([np.zeros((3, 1, 2, 2))], ("a", "b")), "layer_names must name the 1 levels"),
    ],
)
def test_no_pyramid_of_nonsense(arguments, message):
    with pytest.raises(ValueError, match=message):
        FeaturePyramid(*arguments)


@pytest.mark.parametrize("indices", [np.array([3, 0, 3]), [1, 2], MASK, slice(1, 3), np.arange(6) > 3])
def test_scikit_learn_indexes_it(indices):
    pyramid = numbered_pyramid()
    chosen = _safe_indexing(pyramid, indices)
    assert isinstance(chosen, FeaturePyramid)
    assert_array_equal(np.asarray(chosen), np.asarray(pyramid)[indices])


def test_train_test_split_keeps_images_and_labels_together():
    pyramid = numbered_pyramid()
    numbers = pyramid.levels[0][:, 0, 0, 0]
    X_train, X_test, y_train, y_test = train_test_split(pyramid, numbers, test_size=2, random_state=0)
    assert (len(X_train), len(X_test)) == (4, 2)
    assert_array_equal(X_train.levels[0][:, 0, 0, 0], y_train)
    assert_array_equal(X_test.levels[0][:, 0, 0, 0], y_test)
    assert sorted([*y_train, *y_test]) == numbers.tolist()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        train_test_split(pyramid, numbers[:-1])


def test_cross_val_score_equals_the_folds_by_hand():
    pyramid = draw_pyramid(24, [(3, 6, 6), (4, 3, 3)], image_size=(12, 12))

    def mean_score(estimator, X, y=None):
        return estimator.score_samples(X).mean()

    gaussian = PatchGaussian(false_alarm_rate=0.2)
    found = cross_val_score(gaussian, pyramid, cv=3, scoring=mean_score, error_score="raise")
    expected = [
        mean_score(clone(gaussian).fit(pyramid[train]), pyramid[test])
        for train, test in KFold(3).split(np.arange(24))
    ]
    assert_allclose(found, expected, rtol=1e-12)


def convolution(n_in, n_out, **params):
    """Return a convolution with weights of its own."""
    layer = nn.utils.skip_init(nn.Conv2d, n_in, n_out, 3, **params)
    draw = torch.Generator().manual_seed(n_in)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.3, generator=draw)
    return layer


class TinyNetwork(nn.Module):
    """Two layers, of four and five channels, at a half and a quarter of the image's size."""

    def __init__(self):
        super().__init__()
        self.fine = convolution(3, 4, stride=2, padding=1)
        self.coarse = convolution(4, 5, stride=2, padding=1)

    def forward(self, images):
        return self.coarse(torch.relu(self.fine(images)))


def tiny(backbone=None, **params):
    """Return a transformer of which a fit takes milliseconds."""
    defaults = {"layers": ("fine", "coarse"), "weights": None, "image_size": 48, "device": "cpu"}
    return CNNFeatureTransformer(TinyNetwork() if backbone is None else backbone, **(defaults | params))


def by_hand(images):
    """Run the tiny network on uint8 images (n, h, w, 3), scaled as ImageNet's."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    scaled = torch.from_numpy((images / 255 - mean) / std).permute(0, 3, 1, 2).float()
    network = TinyNetwork()
    with torch.no_grad():
        fine = network.fine(scaled)
        return [fine.numpy(), network.coarse(torch.relu(fine)).numpy()]


def assert_levels_close(pyramid, expected):
    assert len(pyramid.levels) == len(expected)
    for found, level in zip(pyramid.levels, expected, strict=True):
        assert found.dtype == np.float32
        assert_allclose(found, level, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(0).integers(0, 256, (7, 48, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def paths(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{number}.png" for number in range(len(photos))]
    for path, photo in zip(paths, photos, strict=True):
        Image.fromarray(photo).save(path)
    return paths


def test_features_are_those_of_the_network(photos):
    transformer = tiny()
    pyramid = transformer.fit(photos).transform(photos)
    assert_levels_close(pyramid, by_hand(photos))
    assert pyramid.layer_names == ("fine", "coarse")
    assert pyramid.image_size == (48, 48)
    assert transformer.level_shapes_ == [(4, 24, 24), (5, 12, 12)]
    assert_levels_close(tiny().fit_transform(photos), pyramid.levels)


def test_levels_come_in_the_order_of_the_layers(photos):
    transformer = tiny(layers=["coarse", "fine"]).fit(photos)
    pyramid = transformer.transform(photos)
    assert_levels_close(pyramid, by_hand(photos)[::-1])
    assert pyramid.layer_names == ("coarse", "fine")
    assert transformer.level_shapes_ == [(5, 12, 12), (4, 24, 24)]
    names = transformer.get_feature_names_out()
    assert names.tolist() == [f"coarse_{i}" for i in range(5)] + [f"fine_{i}" for i in range(4)]


@pytest.mark.parametrize("layers", [("coarse",), np.array(["coarse"])])
def test_layers_may_be_any_sequence(layers, photos):
    assert_levels_close(tiny(layers=layers).fit_transform(photos), by_hand(photos)[1:])


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_features_do_not_depend_on_the_batch_size(batch_size, photos):
    assert_levels_close(tiny(batch_size=batch_size).fit_transform(photos), by_hand(photos))


# The largest tensors are the pixels, of 3 x 48 x 48 numbers.
@pytest.mark.parametrize(
    ("limit", "n_at_a_time"), [(1, [1] * 7), (3 * 48 * 48 * 4 * 3, [3, 2, 2]), (2**25, [7])]
)
def test_few_images_at_a_time_pass_the_network(limit, n_at_a_time, photos, monkeypatch):
    monkeypatch.setattr("skpadim.network.extractor._ACTIVATION_BYTES", limit)
    sizes = []

    def watched(pixels, normalisation, dtype):
        sizes.append(len(pixels))
        return normalised_pixels(pixels, normalisation, dtype)

    transformer = tiny().fit(photos)
    monkeypatch.setattr("skpadim.network.extractor.normalised_pixels", watched)
    assert_levels_close(transformer.transform(photos), by_hand(photos))
    assert sizes == n_at_a_time


@pytest.mark.parametrize("n_jobs", [None, 1, 3, -1])
def test_files_give_the_features_of_their_arrays(n_jobs, photos, paths):
    transformer = tiny(n_jobs=n_jobs, batch_size=2).fit(paths)
    for level, expected in zip(
        transformer.transform(paths).levels, transformer.transform(photos).levels, strict=True
    ):
        assert_array_equal(level, expected)


def test_all_kinds_of_images_give_the_same(photos, paths):
    transformer = tiny().fit(photos)
    expected = by_hand(photos)
    for X in (
        photos / 255,
        (photos / 255).astype(np.float32),
        list(photos),
        [str(path) for path in paths],
        [Image.fromarray(photo) for photo in photos],
        torch.from_numpy(photos).permute(0, 3, 1, 2),
        photos.astype(np.uint16) * 257,
    ):
        assert_levels_close(transformer.transform(X), expected)
    grey = photos[..., 0]
    assert_levels_close(transformer.transform(grey), by_hand(np.repeat(grey[..., None], 3, axis=3)))


@pytest.mark.parametrize(
    ("image_size", "crop_size", "resized", "window"),
    [
        (48, None, (48, 48), np.s_[:, :]),
        ((64, 40), None, (64, 40), np.s_[:, :]),
        (np.array([64, 40]), None, (64, 40), np.s_[:, :]),
        (48, 32, (48, 48), np.s_[8:40, 8:40]),
        (48, [20, 32], (48, 48), np.s_[14:34, 8:40]),
        ((64, 40), (64, 36), (64, 40), np.s_[:, 2:38]),
        (48, 48, (48, 48), np.s_[:, :]),
    ],
)
def test_images_are_resized_then_cropped(image_size, crop_size, resized, window, photos):
    transformer = tiny(image_size=image_size, crop_size=crop_size).fit(photos)
    seen = transforms.resize(torch.from_numpy(photos).permute(0, 3, 1, 2), resized, antialias=True)
    cropped = seen.permute(0, 2, 3, 1).numpy()[:, *window]
    pyramid = transformer.transform(photos)
    assert_levels_close(pyramid, by_hand(cropped))
    assert pyramid.image_size == transformer.input_size_ == cropped.shape[1:3]
    assert transformer.resized_size_ == resized


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"image_size": 0}, "image_size"),
        ({"image_size": -5}, "image_size"),
        ({"image_size": 48.0}, "image_size"),
        ({"image_size": "48"}, "image_size"),
        ({"image_size": (48,)}, "image_size must be .* got"),
        ({"image_size": (48, 48, 3)}, "image_size must be .* got"),
        ({"image_size": (48, 0)}, "image_size must be .* got"),
        ({"image_size": (48, 4.5)}, "image_size must be .* got"),
        ({"crop_size": 0}, "crop_size"),
        ({"crop_size": (48, -1)}, "crop_size must be .* got"),
        ({"crop_size": 49}, "crop_size=49 is larger than image_size=48"),
        ({"crop_size": (20, 49)}, r"crop_size=\(20, 49\) is larger"),
        ({"batch_size": 0}, "batch_size"),
        ({"n_jobs": 1.5}, "n_jobs"),
        ({"n_jobs": 0}, "n_jobs=0"),
        ({"layers": ()}, "layers"),
        ({"layers": ("fine", "fine")}, "twice"),
        ({"layers": ("finer",)}, "fine"),
        ({"weights": "nowhere.pth"}, "nowhere.pth"),
        ({"device": "quantum"}, "device='quantum'"),
        ({"random_state": -1}, "random_state"),
    ],
)
def test_bad_parameters_are_named(params, message, photos):
    with pytest.raises(ValueError, match=message):
        tiny(**params).fit(photos).transform(photos)


def test_autocast_of_the_caller_changes_nothing(photos):
    transformer = tiny().fit(photos)
    expected = transformer.transform(photos)
    with torch.autocast("cpu", torch.bfloat16):
        found = transformer.transform(photos)
    for level, other in zip(found.levels, expected.levels, strict=True):
        assert_array_equal(level, other)


@pytest.mark.parametrize("layers", ["fine", 3, [1, 2], {"layer1", "layer2"}, {"layer1": 1}])
def test_layers_that_are_no_names_are_refused(layers, photos):
    with pytest.raises((TypeError, ValueError), match="layers"):
        tiny(layers=layers).fit(photos)


class Picky(nn.Module):
    """A network that asserts the size of its images, as vision transformers do."""

    def __init__(self):
        super().__init__()
        self.fine = convolution(3, 4)

    def forward(self, images):
        torch._assert(images.shape[2] == 32, "wrong height")
        return self.fine(images)


@pytest.mark.parametrize(
    ("backbone", "params"),
    [
        (nn.Sequential(convolution(3, 2), nn.MaxPool2d(8)), {"layers": ["1"], "image_size": 4}),
        (Picky(), {"layers": ["fine"]}),
    ],
    ids=["too small", "asserted"],
)
def test_network_that_fails_on_the_size_is_told(backbone, params, photos):
    with pytest.raises(ValueError, match="image_size"):
        tiny(backbone, **params).fit(photos)


@pytest.mark.parametrize("layer", ["1", "2"])
def test_layers_must_give_feature_maps(layer, photos):
    backbone = nn.Sequential(convolution(3, 2), nn.Flatten(), nn.Softmax(dim=1))
    with pytest.raises(ValueError, match=f"layers: '{layer}' gives .* feature maps"):
        tiny(backbone, layers=["0", layer]).fit(photos)


def test_network_without_weights_is_one_too(photos):
    pyramid = tiny(nn.Sequential(nn.AvgPool2d(8)), layers=["0"]).fit_transform(photos)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    blocks = photos.reshape(7, 6, 8, 6, 8, 3).mean(axis=(2, 4)) / 255
    assert_levels_close(pyramid, [((blocks - mean) / std).transpose(0, 3, 1, 2)])


def test_network_in_double_precision_gives_doubles(photos):
    pyramid = tiny(TinyNetwork().double()).fit_transform(photos)
    assert pyramid.dtype == np.float64
    for found, level in zip(pyramid.levels, by_hand(photos), strict=True):
        assert_allclose(found, level, rtol=1e-4, atol=1e-5)


def test_fit_needs_images_but_decodes_none(tmp_path):
    missing = [tmp_path / "nowhere.png"]
    transformer = tiny().fit(missing)
    with pytest.raises(ValueError, match=r"X\[0\] .*nowhere\.png"):
        transformer.transform(missing)
    with pytest.raises(ValueError, match="n_samples=0"):
        tiny().fit([])


def test_fit_does_not_touch_the_parameters(photos):
    backbone, layers = TinyNetwork().train(), ["fine"]
    transformer = tiny(backbone, layers=layers)
    before = transformer.get_params()
    transformer.fit(photos)
    assert transformer.get_params() == before
    assert transformer.backbone is backbone and backbone.training
    assert transformer.layers is layers and layers == ["fine"]


def test_clone_and_parameters(photos):
    transformer = tiny(image_size=(48, 32), batch_size=3).fit(photos)
    copy = clone(transformer)
    assert copy.get_params().keys() == transformer.get_params().keys()
    assert copy.backbone is not transformer.backbone
    with pytest.raises(NotFittedError):
        copy.transform(photos)
    assert copy.set_params(image_size=48).fit(photos).input_size_ == (48, 48)
    assert transformer.input_size_ == (48, 32)


def test_text_and_html(photos):
    by_name = CNNFeatureTransformer("squeezenet1_0", layers=["features.4"])
    assert repr(by_name) == ("CNNFeatureTransformer(backbone='squeezenet1_0', layers=['features.4'])")
    for transformer in (by_name, tiny().fit(photos)):
        assert "CNNFeatureTransformer" in transformer._repr_html_()
    assert "TinyNetwork" in repr(tiny())


def test_nothing_before_fit(photos):
    for call in (lambda: tiny().transform(photos), lambda: tiny().get_feature_names_out()):
        with pytest.raises(NotFittedError):
            call()


def test_names_go_through_a_pipeline(photos):
    pipeline = Pipeline([("features", tiny()), ("channels", RandomChannelSelector(n_channels=4))])
    pyramid = pipeline.fit_transform(photos)
    names = [f"fine_{i}" for i in range(4)] + [f"coarse_{i}" for i in range(5)]
    chosen = pipeline["channels"].channel_indices_
    assert pipeline.get_feature_names_out().tolist() == [names[index] for index in chosen]
    whole = np.concatenate([*by_hand(photos)[:1], by_hand(photos)[1].repeat(2, 2).repeat(2, 3)], axis=1)
    assert_allclose(np.asarray(pyramid), whole[:, chosen], rtol=1e-4, atol=1e-5)


def test_random_weights_follow_random_state(photos):
    def fine(random_state):
        transformer = tiny("squeezenet1_1", layers=["features.0"], random_state=random_state)
        return transformer.fit_transform(photos[:1]).levels[0]

    assert_array_equal(fine(0), fine(0))
    assert not np.allclose(fine(0), fine(1))
    shared = np.random.RandomState(0)
    assert not np.allclose(fine(shared), fine(shared))
    assert not np.allclose(fine(None), fine(None))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_warned_of_and_replaced(photos):
    with pytest.warns(UserWarning, match="device='cuda'.*CPU"):
        transformer = tiny(device="cuda").fit(photos)
    assert_levels_close(transformer.transform(photos), by_hand(photos))


@pytest.mark.parametrize("layer", ["stage2.0.floordiv", "stage2.0.size"])
def test_layer_that_computes_numbers(layer, photos):
    with pytest.raises(ValueError, match=f"{layer!r} gives no tensor .*PaDiM needs layers"):
        tiny("shufflenet_v2_x0_5", layers=[layer, "stage2.1"]).fit(photos)


@pytest.mark.parametrize("own", [False, True])
def test_what_is_gone_is_freed_at_once(own, photos):
    """Weights in cycles would add up from fit to fit, until Python's garbage collector comes by."""

    def compute():
        with torch.random.fork_rng(devices=[]):
            backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()) if own else "resnet18"
        transformer = tiny(backbone, layers=["0", "2"] if own else ["layer1", "layer2"]).fit(photos)
        for images in (photos[:1], photos):
            transformer.transform(images)

    def n_tensors():
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    compute()  # The statistics to normalise with stay in any case.
    gc.collect()
    gc.disable()
    try:
        before = n_tensors()
        compute()
        assert n_tensors() == before
    finally:
        gc.enable()

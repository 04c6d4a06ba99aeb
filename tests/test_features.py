"""CNNFeatureTransformer against the network run by hand."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from torch import nn
from torchvision.transforms.v2 import functional as transforms

from skpadim import CNNFeatureTransformer, RandomChannelSelector
from skpadim.network.extractor import normalised_pixels


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


@pytest.mark.parametrize(("n_torch", "n_decoders"), [(1, 2), (5, 5), (64, 8)])
def test_as_many_threads_decode_as_torch_has_from_two_to_eight(n_torch, n_decoders, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_torch)
    assert tiny()._n_threads() == n_decoders


@pytest.mark.parametrize("n_decoders", [None, 1, 3, -1])
def test_files_give_the_features_of_their_arrays(n_decoders, photos, paths):
    transformer = tiny(n_decoders=n_decoders, batch_size=2).fit(paths)
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
        ({"n_decoders": 1.5}, "n_decoders"),
        ({"n_decoders": 0}, "n_decoders=0"),
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

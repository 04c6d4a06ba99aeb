"""Every weights entry of torchvision against torchvision's own transforms, without the weights."""

import inspect
from unittest import mock

import numpy as np
import pytest
import torch
from torchvision.models import get_model_builder, get_model_weights, list_models
from torchvision.models._api import WeightsEnum
from torchvision.models.googlenet import GoogLeNet
from torchvision.models.inception import Inception3

from skpadim.network.normalisation import (
    EFFICIENTNET_LITE,
    IMAGENET,
    INCEPTION,
    UNCHANGED,
    check_normalisation,
    of_torchvision,
)

SIDE = 16
IMAGE = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8))
ENTRIES = [(name, entry) for name in list_models() for entry in get_model_weights(name).__members__]
FLOWS = [name for name in list_models() if name.startswith("raft")]


def applied(normalisation, pixels):
    """The plain formula."""
    mean, std = (
        torch.tensor(values, dtype=torch.float64) for values in (normalisation.mean, normalisation.std)
    )
    return (pixels.double() / 255 - mean[:, None, None]) / std[:, None, None]


def transformed(transforms, image):
    """Apply torchvision's transforms but for their resizing."""
    settings = {"resize_size": [SIDE], "crop_size": [SIDE, SIDE]}
    if type(transforms).__name__ == "VideoClassification":
        settings["resize_size"] = [SIDE, SIDE]
    for setting, value in settings.items():
        if hasattr(transforms, setting):
            setattr(transforms, setting, value)
    if type(transforms).__name__ == "VideoClassification":
        return transforms(image[None])[:, 0]  # a video of one frame, whose channels come first
    return transforms(image)


def own_input(name, normalised):
    """Apply what the network does first when it is built with its weights."""
    classes = vars(inspect.getmodule(get_model_builder(name))).values()
    for kind in (kind for kind in classes if inspect.isclass(kind) and hasattr(kind, "_transform_input")):
        return kind._transform_input(mock.Mock(transform_input=True), normalised[None])[0]
    return normalised


def test_there_are_weights_to_test():
    assert len(ENTRIES) > 200  # 166 and their defaults
    assert len({entry for _, entry in ENTRIES}) > 10


@pytest.mark.parametrize("name", [name for name in list_models() if name not in FLOWS])
def test_pixels_are_those_of_torchvisions_transforms(name):
    for entry, weights in get_model_weights(name).__members__.items():
        ours = of_torchvision(name, entry)
        transforms = weights.transforms()
        expected = own_input(name, transformed(transforms, IMAGE))
        torch.testing.assert_close(applied(ours, IMAGE), expected.double(), rtol=0, atol=1e-5 / min(ours.std))
        if hasattr(transforms, "interpolation"):
            assert ours.interpolation == str(transforms.interpolation.value)


@pytest.mark.parametrize(("name", "kind"), [("googlenet", GoogLeNet), ("inception_v3", Inception3)])
def test_building_without_weights_loses_the_input_of_tensorflow(name, kind):
    """Which is why theirs are not the statistics that their transforms have."""
    without_files = (
        mock.patch.object(WeightsEnum, "get_state_dict"),
        mock.patch.object(kind, "load_state_dict"),
    )
    with without_files[0], without_files[1], torch.device("meta"):
        build = get_model_builder(name)
        assert build(weights="DEFAULT").transform_input
        assert not build(weights=None, init_weights=False).transform_input
    assert of_torchvision(name, "DEFAULT") == INCEPTION


def test_unusual_weights():
    assert of_torchvision("resnet18", "IMAGENET1K_V1") == IMAGENET
    assert of_torchvision("efficientnet_v2_l", "IMAGENET1K_V1").mean == (0.5, 0.5, 0.5)
    assert of_torchvision("vgg16", "IMAGENET1K_V1") == IMAGENET
    assert of_torchvision("vgg16", "IMAGENET1K_FEATURES").std == (1 / 255,) * 3
    assert of_torchvision("ssd300_vgg16", "DEFAULT") == UNCHANGED


def test_detection_networks_normalise_themselves():
    from torchvision.models.detection import ssd300_vgg16

    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = ssd300_vgg16(weights=None, weights_backbone=None)
    inner = network.transform.normalize(IMAGE / 255)
    features = of_torchvision("vgg16", "IMAGENET1K_FEATURES")
    torch.testing.assert_close(inner.double(), applied(features, IMAGE), rtol=0, atol=1e-3)


def test_lite_is_what_tensorflow_computes_with_bytes():
    torch.testing.assert_close(applied(EFFICIENTNET_LITE, IMAGE), (IMAGE.double() - 127) / 128)


@pytest.mark.parametrize("name", FLOWS)
def test_optical_flow_is_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' compares two images"):
        of_torchvision(name, "DEFAULT")


def test_unknown_weights_name_those_there_are():
    with pytest.raises(
        ValueError, match=r"'IMAGENET' .* for resnet50: IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT"
    ):
        of_torchvision("resnet50", "IMAGENET")


def test_parameter_by_name_and_by_value():
    assert check_normalisation("auto") is None
    assert check_normalisation("imagenet") == IMAGENET
    assert check_normalisation("inception") == INCEPTION
    pair = check_normalisation((np.array([0, 0.5, 1]), [1 / 255, 0.5, 1]))
    assert (pair.mean, pair.std) == ((0.0, 0.5, 1.0), (1 / 255, 0.5, 1.0))
    assert all(type(value) is float for value in pair.mean + pair.std)
    assert check_normalisation(np.array([INCEPTION.mean, INCEPTION.std])) == INCEPTION
    assert hash(pair) == hash(check_normalisation(((0, 0.5, 1), (1 / 255, 0.5, 1))))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ImageNet", "none of 'auto', 'imagenet', 'inception' and a pair"),
        (None, "none of 'auto'"),
        (0.5, "none of 'auto'"),
        (((0.5,) * 3,), "none of 'auto'"),
        (((0.5,) * 3,) * 3, "none of 'auto'"),
        ((0.5, 0.5), "mean holds no numbers"),
        (("red", (1, 1, 1)), "mean holds no numbers"),
        (((0.5, 0.5), (1, 1, 1)), "mean is not three finite numbers"),
        (((0.5,) * 3, (1,) * 4), "std is not three finite numbers"),
        (((0.5, 0.5, np.nan), (1, 1, 1)), "mean is not three finite numbers"),
        (((0.5,) * 3, (1, 1, 0)), "std must be above 0"),
        (((0.5,) * 3, (1, 1, -0.2)), "std must be above 0"),
        (((-0.5,) * 3, (1, 1, 1)), "mean must not be below 0"),
        (((123.7, 116.3, 103.5), (58.4, 57.1, 57.4)), r"mean is above 1, .* Divide what is for bytes by 255"),
        (((0.485, 0.456, 0.406), (58.4, 57.1, 57.4)), r"std is above 1, .* Divide what is for bytes by 255"),
    ],
)
def test_other_values_say_what_is_wrong(value, message):
    with pytest.raises(ValueError, match=r"^normalisation=(.|\n)*" + message):
        check_normalisation(value)

"""anomalib's pre-processors in the parameters of a detector."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import InterpolationMode, v2

from skpadim.interop.transforms import PhotoTransform, read_transforms
from skpadim.interop.unpickling import read_torch_file
from skpadim.network.normalisation import IMAGENET, UNCHANGED, Normalisation

SCALE = v2.Normalize(IMAGENET.mean, IMAGENET.std)


def said(*steps):
    """Return anomalib's plain description of transforms, (name, settings) each."""
    described = [
        {"class_path": f"torchvision.transforms.v2.{name}", "init_args": settings} for name, settings in steps
    ]
    return {"class_path": "torchvision.transforms.v2.Compose", "init_args": {"transforms": described}}


def saved(folder, transform):
    torch.save(transform, folder / "transform.pt")
    return read_torch_file(folder / "transform.pt")


def test_descriptions_are_read():
    found = read_transforms(
        said(
            ("ToImage", {}),
            ("Resize", {"size": [256, 320], "interpolation": "bicubic", "antialias": True}),
            ("CenterCrop", {"size": [224, 280]}),
            ("Normalize", {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1]}),
        ),
        resizes=True,
    )
    assert found.image_size == (256, 320)
    assert found.crop_size == (224, 280)
    assert found.normalisation == Normalisation((0.5,) * 3, (0.25, 0.5, 1.0), "bicubic")


def test_nothing_said_is_anomalibs_default():
    assert read_transforms(None, resizes=True) == PhotoTransform(None, None, IMAGENET)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (v2.Compose([v2.Resize((64, 96)), SCALE]), PhotoTransform((64, 96), None, IMAGENET)),
        (v2.Resize([64, 64]), PhotoTransform((64, 64), None, UNCHANGED)),
        (v2.Compose([v2.CenterCrop(32), SCALE]), PhotoTransform(None, (32, 32), IMAGENET)),
        (
            v2.Compose([v2.Resize((64, 64), InterpolationMode.BICUBIC), v2.Compose([SCALE])]),
            PhotoTransform((64, 64), None, Normalisation(IMAGENET.mean, IMAGENET.std, "bicubic")),
        ),
    ],
)
def test_saved_transforms_are_read(tmp_path, transform, expected):
    assert read_transforms(saved(tmp_path, transform), resizes=True) == expected


@pytest.mark.parametrize(
    "resize",
    [v2.Resize(64), v2.Resize((64, 64), antialias=False), v2.Resize((64, 64), InterpolationMode.NEAREST)],
)
def test_other_resizing_counts_only_where_no_size_is_stated(tmp_path, resize):
    transform = saved(tmp_path, v2.Compose([resize, SCALE]))
    with pytest.raises(ValueError, match="Pass image_size"):
        read_transforms(transform, resizes=True)
    assert read_transforms(transform, resizes=False) == PhotoTransform(None, None, IMAGENET)


@pytest.mark.parametrize(
    "transform",
    [v2.Grayscale(3), v2.Compose([v2.CenterCrop(32), v2.Resize((64, 64))])],
    ids=["grey", "order"],
)
def test_what_a_detector_does_not_is_refused(tmp_path, transform):
    with pytest.raises(ValueError, match="does nothing of the kind"):
        read_transforms(saved(tmp_path, transform), resizes=True)

"""Large photos in tiles: what networks that we know give of them, and which photos pass whole."""

import numpy as np
import pytest
import torch
from torch import nn

from skpadim import CNNFeatureTransformer
from skpadim.network import extractor as extractor_module
from skpadim.network.extractor import FeatureExtractor
from skpadim.network.tiles import PERIOD, Reach, cut, measure_reach, tile

SIZE = (448, 544)


def photos(size=SIZE):
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (2, 3, *size), dtype=np.uint8))


@pytest.fixture
def small_tiles(monkeypatch):
    """Photos are cut where one activation takes more than a few MB."""
    monkeypatch.setattr(extractor_module, "_TILE_BYTES", 3 * 2**20)


def built(backbone="resnet18", size=SIZE, **params):
    params = {"weights": None, "device": "cpu"} | params
    return CNNFeatureTransformer(backbone, image_size=size, **params).build()._fitted_extractor()


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", ("layer1", "layer2")),
        ("efficientnet_lite0", ("blocks.2", "blocks.4")),
        ("squeezenet1_1", ("features.4", "features.7")),  # pads nothing, and rounds sizes up
        ("shufflenet_v2_x0_5", ("maxpool", "stage2")),
        ("mobilenet_v2", ("features.3",)),
    ],
)
def test_tiles_give_what_whole_photos_give(name, layers, monkeypatch):
    whole = built(name, layers=layers)
    assert whole.tiling(SIZE) is None
    expected = whole.levels(photos())
    channels = [np.arange(0, level.shape[1], 2) for level in expected]
    monkeypatch.setattr(extractor_module, "_TILE_BYTES", whole.activation_bytes(SIZE) // 2)
    # Estimators with the same weights would share the one that passes photos whole.
    tiled = FeatureExtractor(whole.trunk, layers, whole._normalisation, torch.device("cpu"), None)
    tiling = tiled.tiling(SIZE)
    assert len(tiling.rows) * len(tiling.columns) > 1
    assert tiled.shapes(SIZE) == whole.shapes(SIZE) == [tuple(level.shape[1:]) for level in expected]
    assert tiled.activation_bytes(SIZE) < whole.activation_bytes(SIZE)
    for level, part, kept, exact in zip(
        tiled.levels(photos()), tiled.levels(photos(), channels), channels, expected, strict=True
    ):
        assert (level - exact).abs().max() <= 1e-5 * exact.abs().max()
        assert torch.equal(part, level[:, kept])
        assert level.is_contiguous(memory_format=torch.channels_last)


def test_no_tile_is_larger_than_said_and_none_is_lost():
    reach = Reach(64, {"a": 8})
    tiling = tile((1024, 512), {"a": (3, 128, 64)}, reach, 100_000)
    assert tiling.largest <= 100_000
    for spans, side in ((tiling.rows, 1024), (tiling.columns, 512)):
        kept = [pixel for span in spans for pixel in range(side)[span.kept]]
        assert kept == list(range(side))
        for seen, inner in spans:
            assert seen.start % PERIOD == inner.start % PERIOD == 0
            assert seen.start == max(0, inner.start - 64)
            assert seen.stop == min(side, inner.stop + 64)


def test_where_no_tile_is_small_enough_tiles_are_as_small_as_can_be():
    tiling = tile((512, 512), {"a": (3, 64, 64)}, Reach(96, {"a": 8}), 1)
    smallest = min(
        max(span.seen.stop - span.seen.start for span in cut(512, n_parts, 96)) for n_parts in range(1, 9)
    )
    assert tiling.largest == smallest**2


@pytest.mark.parametrize(
    "params",
    [
        {"size": (450, 544)},  # filters of tiles would not stand where the photo's do
        {"backbone": "efficientnet_b0", "layers": ("features.2",)},  # squeeze-and-excitation sees all
        {"backbone": nn.Sequential(nn.Conv2d(3, 48, 3, padding=1)), "layers": ("0",)},  # a stranger
        {"backbone": "densenet121", "layers": ("features.denseblock3",)},  # sees more than 1,024 px
    ],
)
def test_other_photos_and_networks_pass_whole(params, small_tiles):
    assert built(**params).tiling(params.get("size", SIZE)) is None


def test_other_engines_run_whole_photos(small_tiles):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    whole = built(layers=("layer1",), engine="onnxruntime")
    assert whole.tiling(SIZE) is None
    assert whole.levels(photos())[0].shape == (2, 64, 112, 136)


class Shifting(nn.Module):
    """Windows of 24 pixels are averaged: no tile that begins elsewhere gives the same."""

    def forward(self, pixels):
        side = pixels.shape[3]
        padded = nn.functional.pad(pixels, (0, -side % 24, 0, -side % 24))
        means = nn.functional.avg_pool2d(padded, 24)
        return {"a": means.repeat_interleave(24, 2).repeat_interleave(24, 3)[:, :, :side, :side] + pixels}


class Everywhere(nn.Module):
    def forward(self, pixels):
        return {"a": pixels + pixels.mean((2, 3), keepdim=True)}


class Padding(nn.Module):
    def forward(self, pixels):
        return {"a": nn.functional.avg_pool2d(pixels, 9, 8, 4)}


class Tokens(nn.Module):
    def forward(self, pixels):
        return {"a": pixels.flatten(2)}


@pytest.mark.parametrize(
    ("network", "reach"),
    [(Padding(), Reach(32, {"a": 8})), (Shifting(), None), (Everywhere(), None), (Tokens(), None)],
)
def test_reach_is_measured_and_what_tiles_would_change_is_refused(network, reach):
    assert measure_reach(network, ["a"], torch.empty(0)) == reach

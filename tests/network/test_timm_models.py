"""Untrained networks of timm: their maps are those of timm's own modules, and of its weights."""

import socket

import pytest
import torch

from skpadim.network.normalisation import IMAGENET, INCEPTION
from skpadim.network.timm_models import build_timm, cached_weights

timm = pytest.importorskip("timm")

SWIN = "swin_tiny_patch4_window7_224"
DINO = "vit_small_patch14_reg4_dinov2"


@pytest.fixture(autouse=True)
def _no_connections(monkeypatch):
    def connect(*_args):
        raise AssertionError("looked for a network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


@pytest.fixture(autouse=True)
def _quick_weights(monkeypatch):
    """Draw weights from a uniform distribution: most of the time would go to truncating normal ones."""
    monkeypatch.setattr(
        "timm.layers.weight_init._trunc_normal_",
        lambda tensor, mean, std, *_limits: tensor.uniform_(mean - 2 * std, mean + 2 * std),
    )


def images(height, width):
    return torch.linspace(-2, 2, 2 * 3 * height * width).sin().reshape(2, 3, height, width)


def whole(name, **said):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        return timm.create_model(name, **said).eval()


def seen(network, layers, pixels):
    """What the modules of a network return, by plain hooks."""
    outputs = {}
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(
            lambda _module, _args, output, layer=layer: outputs.update({layer: output.clone()})
        )
    with torch.inference_mode():
        network(pixels)
    return outputs


def as_they_are(outputs, _network, _rows):
    return outputs


def from_channels_last(outputs, _network, _rows):
    return outputs.permute(0, 3, 1, 2)


def from_tokens(outputs, network, rows):
    return outputs[:, network.num_prefix_tokens :].unflatten(1, (rows, -1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("name", "size", "layers", "strides", "to_maps"),
    [
        ("resnet10t", (96, 64), ("layer1", "layer2", "layer3"), (4, 8, 16), as_they_are),
        ("convnext_atto", (96, 64), ("stages.0", "stages.1", "stages.2"), (4, 8, 16), as_they_are),
        ("mobilenetv3_small_050", (96, 64), ("blocks.0", "blocks.1", "blocks.3"), (4, 8, 16), as_they_are),
        (SWIN, (96, 64), ("layers.0", "layers.1", "layers.2"), (4, 8, 16), from_channels_last),
        ("vit_tiny_patch16_224", (96, 64), ("blocks.2", "blocks.5", "blocks.8"), (16, 16, 16), from_tokens),
        (DINO, (98, 70), ("blocks.2", "blocks.5", "blocks.8"), (14, 14, 14), from_tokens),
    ],
)  # fmt: skip
def test_maps_are_what_timms_modules_return(name, size, layers, strides, to_maps):
    fixed = timm.models.get_pretrained_cfg(name).fixed_input_size
    network = whole(name, **({"img_size": size} if fixed else {}))
    built = build_timm(name, size, None, network.state_dict())
    assert built.layers == layers
    pixels = images(*size)
    expected = seen(network, layers, pixels)
    hooked = seen(built.module, layers, pixels)
    with torch.inference_mode():
        returned = built.module(pixels)
    for layer, stride in zip(layers, strides, strict=True):
        maps = to_maps(expected[layer], network, size[0] // stride)
        assert maps.shape[2:] == (size[0] // stride, size[1] // stride)
        torch.testing.assert_close(hooked[layer], maps, rtol=0, atol=0)
        torch.testing.assert_close(returned[layer], maps, rtol=0, atol=0)
    assert not built.module.training
    assert not any(parameter.requires_grad for parameter in built.module.parameters())


def test_normalisation_is_that_of_the_weights_by_their_tag():
    size = (32, 32)
    assert build_timm("resnet10t", size, None, None).normalisation.mean == IMAGENET.mean
    vit = build_timm("vit_tiny_patch16_224", size, None, None).normalisation
    assert (vit.mean, vit.std, vit.interpolation) == (INCEPTION.mean, INCEPTION.std, "bicubic")
    # The same network, trained by others.
    dino = build_timm("vit_small_patch16_224.dino", size, None, None).normalisation
    assert (dino.mean, dino.std) == (IMAGENET.mean, IMAGENET.std)


def test_layers_are_computed_up_to_the_deepest_and_no_further():
    built = build_timm("vit_tiny_patch16_224", (32, 32), ("blocks.3", "blocks.1"), None)
    assert built.layers == ("blocks.3", "blocks.1")
    assert len(built.module.timm.blocks) == 4
    given = seen(built.module, ("blocks.3", "blocks.1", "timm.blocks.3", "timm.blocks.1"), images(32, 32))
    for layer in built.layers:
        tokens = given[f"timm.{layer}"][:, 1:]
        torch.testing.assert_close(given[layer].flatten(2).mT, tokens, rtol=0, atol=0)


def test_random_weights_are_those_of_the_seed():
    states = [build_timm("resnet10t", (32, 32), None, None, seed).module.state_dict() for seed in (0, 0, 1)]
    weights = [state["timm.layer1.0.conv1.weight"] for state in states]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_positions_are_interpolated_to_the_size_as_timm_does():
    state = whole("vit_tiny_patch16_224").state_dict()
    peer = whole(
        "vit_tiny_patch16_224",
        pretrained=True,
        features_only=True,
        out_indices=[5],
        img_size=(64, 96),
        pretrained_cfg_overlay={"state_dict": dict(state)},
    )
    built = build_timm("vit_tiny_patch16_224", (64, 96), ("blocks.5",), state)
    pixels = images(64, 96)
    with torch.inference_mode():
        (expected,) = peer(pixels)
        torch.testing.assert_close(built.module(pixels)["blocks.5"], expected)


@pytest.mark.parametrize("n_classes", [0, 7, 1000, 1001])
def test_heads_of_any_size_are_nobodys_concern(n_classes):
    network = whole("resnet10t", num_classes=n_classes)
    state = network.state_dict()
    built = build_timm("resnet10t", (32, 32), ("layer1",), state)
    kept = built.module.state_dict()
    assert torch.equal(kept["timm.layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])


def test_weights_of_another_network_are_refused():
    state = whole("resnet10t").state_dict()
    with pytest.raises(
        ValueError, match=r"(?s)weights do not fit backbone='timm/resnet14t' \(RuntimeError.*Missing key"
    ):
        build_timm("resnet14t", (32, 32), None, state)
    with pytest.raises(ValueError, match="weights do not fit backbone='timm/convnext_atto'"):
        build_timm("convnext_atto", (32, 32), None, state)
    # Without shapes that clash, timm itself would load nothing of a file with another number of classes.
    headless = {name: value for name, value in state.items() if not name.startswith(("fc", "bn1"))}
    assert whole(
        "mobilenetv3_small_050",
        pretrained=True,
        num_classes=7,
        pretrained_cfg_overlay={"state_dict": headless},
    )
    with pytest.raises(ValueError, match="weights do not fit backbone='timm/mobilenetv3_small_050'"):
        build_timm("mobilenetv3_small_050", (32, 32), None, headless)
    del state["layer4.0.conv1.weight"]
    with pytest.raises(ValueError, match=r"Missing key(.|\n)*layer4\.0\.conv1\.weight"):
        build_timm("resnet10t", (32, 32), None, state)


@pytest.mark.parametrize(
    ("name", "size", "layers", "message"),
    [
        ("resnet10", (32, 32), None, r"'timm/resnet10' is not a network of timm\. Close matches: resnet10t"),
        ("hf-hub:timm/resnet10t", (32, 32), None, "is not a network of timm"),
        ("local-dir:/tmp", (32, 32), None, "is not a network of timm"),
        ("resnet10t.mine", (32, 32), None, r"knows no such weights; it knows resnet10t\.c3_in1k"),
        (
            "resnet10t",
            (32, 32),
            ("layer5",),
            r"are act1 \(64 at stride 2\), layer1 \(64 at stride 4\), layer2",
        ),
        ("resnet10t", (32, 32), ("layer1", "layer1"), "each once"),
        (DINO, (98, 96), None, r"image_size: .* patches of 14 pixels, into which 98x96 cannot be cut"),
        ("nest_tiny", (36, 36), None, "image_size: .* cannot be made for images of 36x36 pixels"),
        ("inception_v3", (32, 32), None, r"image_size: .* fails on images of 32x32 .* on \(299, 299\)"),
    ],
)
def test_errors_name_what_there_is(name, size, layers, message):
    with pytest.raises(ValueError, match=message):
        build_timm(name, size, layers, None)


def test_weights_are_found_where_timm_leaves_them(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert cached_weights("resnet10t.c3_in1k") is None
    assert cached_weights("no_such_network") is None
    repository = tmp_path / "models--timm--resnet10t.c3_in1k"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "model.safetensors").write_bytes(b"")
    assert cached_weights("resnet10t.c3_in1k") == snapshot / "model.safetensors"
    assert cached_weights("resnet10t") == snapshot / "model.safetensors"
    assert cached_weights("resnet14t") is None

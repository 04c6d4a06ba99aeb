"""Images of one size: as torchvision and Pillow resize them, and cropped at the centre."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as torchvision_functional

from reading import SIZE, draw, pixels, read, scaled
from skpadim.images.collection import centre_window, check_images


class TestResizing:
    @pytest.mark.parametrize("source", [(40, 50), (300, 200), (5, 6), (12, 90), (1, 1)])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_uint8_equals_torchvision_and_pillow(self, source, channels):
        image = draw(*source, channels)
        result = pixels(image[None])[0]
        assert result.dtype == np.uint8
        expected = torchvision_functional.resize(
            torch.from_numpy(image).movedim(-1, 0), list(SIZE), antialias=True
        )
        expected = np.broadcast_to(expected.movedim(0, -1).numpy(), result.shape).astype(int)
        assert np.abs(expected - result).max() <= 1
        by_pillow = Image.fromarray(image.squeeze(-1) if channels == 1 else image)
        by_pillow = by_pillow.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(by_pillow).astype(int) - result).max() <= 1

    @pytest.mark.parametrize("channels", [1, 3])
    def test_float_equals_torchvision(self, channels):
        image = np.random.default_rng(0).random((40, 50, channels), dtype=np.float32)
        expected = torchvision_functional.resize(
            torch.from_numpy(image).movedim(-1, 0).contiguous(), list(SIZE), antialias=True
        )
        result = pixels(image[None])[0]
        np.testing.assert_allclose(
            result, np.broadcast_to(expected.movedim(0, -1).numpy(), result.shape), atol=1e-6
        )

    def test_resized_floats_stay_in_range(self):
        for seed in range(5):
            noise = np.random.default_rng(seed).random((2, 97, 83, 3)) > 0.01
            result = pixels(noise.astype(np.float64))
            assert result.min() >= 0 and result.max() <= 1

    @pytest.mark.parametrize("source", [(40, 50), (300, 200), (5, 6)])
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_bicubic_equals_torchvision(self, source, dtype):
        image = scaled(draw(*source, 3), np.dtype(dtype).name)
        (batch,) = check_images([image]).batches(1, SIZE, None, 1, interpolation="bicubic")
        expected = torchvision_functional.resize(
            torch.from_numpy(image).movedim(-1, 0).contiguous(), list(SIZE), interpolation=3, antialias=True
        )
        assert batch.pixels.dtype == expected.dtype
        if dtype == np.float32:
            assert batch.pixels.min() >= 0 and batch.pixels.max() <= 1
            np.testing.assert_allclose(batch.pixels[0], expected.clamp(0, 1), atol=1e-6)
            return
        assert np.abs(batch.pixels[0].numpy().astype(int) - expected.numpy()).max() <= 1
        by_pillow = Image.fromarray(image).resize(SIZE[::-1], Image.Resampling.BICUBIC)
        difference = np.asarray(by_pillow).astype(int) - batch.pixels[0].movedim(0, -1).numpy()
        assert np.abs(difference).max() <= 1

    def test_overshooting_floats_are_clamped(self):
        edge = np.zeros((60, 60), np.float32)
        edge[:, 30:] = 1
        (batch,) = check_images([edge]).batches(1, SIZE, None, 1, interpolation="bicubic")
        assert batch.pixels.min() == 0 and batch.pixels.max() == 1

    def test_no_such_interpolation(self):
        with pytest.raises(ValueError, match="interpolation='nearest' must be one of bilinear, bicubic"):
            list(check_images(draw(2, 9, 9)).batches(1, SIZE, None, 1, interpolation="nearest"))

    @pytest.mark.parametrize("value", [0, 1, 127, 255])
    def test_constant_images_stay_constant(self, value):
        X = [np.full((9000, 3), value, np.uint8), np.full((1200, 800, 3), value, np.uint8)]
        assert (pixels(X) == value).all()

    def test_crop_is_the_centre_of_the_resized_image(self, files):
        image = draw(40, 50, 3)
        whole, cropped = pixels([image])[0], pixels([image], crop_size=(8, 11))[0]
        np.testing.assert_array_equal(cropped, whole[2:10, 3:14])
        expected = torch.from_numpy(whole).movedim(-1, 0)
        expected = torchvision_functional.center_crop(expected, [8, 11])
        np.testing.assert_array_equal(cropped, expected.movedim(0, -1).numpy())
        np.testing.assert_array_equal(pixels(files, crop_size=(8, 11)), pixels(files)[:, 2:10, 3:14])

    def test_crop_must_fit(self):
        with pytest.raises(ValueError, match=r"crop_size=\(5, 18\).*image_size=\(12, 17\)"):
            read(draw(2, *SIZE), crop_size=(5, 18))
        assert centre_window((10, 11), (10, 8)) == (slice(0, 10), slice(1, 9))

"""What may be X, how it becomes pixels, and what is said of what may not."""

from __future__ import annotations

import contextlib
import gc
import os
import struct
import threading
import time
import tracemalloc
import warnings
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, ImageCms
from torchvision.transforms.v2 import functional as torchvision_functional

from skpadim.images import decoding
from skpadim.images.collection import ImageBatch, centre_window, check_images

SIZE = (12, 17)


def read(X, image_size=SIZE, *, batch_size=4, crop_size=None, n_jobs=2) -> list[ImageBatch]:
    return list(check_images(X).batches(batch_size, image_size, crop_size, n_jobs))


def pixels(X, image_size=SIZE, **options) -> np.ndarray:
    """All pixels, channels last, as stored: the batches must agree in dtype."""
    batches = [batch.pixels.permute(0, 2, 3, 1).numpy() for batch in read(X, image_size, **options)]
    assert len({batch.dtype for batch in batches}) == 1
    return np.concatenate(batches)


def unit_pixels(X, image_size=SIZE, **options) -> np.ndarray:
    """All pixels in [0, 1], whatever each batch's dtype."""
    return np.concatenate(
        [
            (b.pixels / 255 if b.pixels.dtype == torch.uint8 else b.pixels).numpy()
            for b in read(X, image_size, **options)
        ]
    )


def draw(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def scaled(raw, dtype) -> np.ndarray:
    """The same grey values in another dtype."""
    return (raw * {"uint8": 1.0, "uint16": 257.0}.get(dtype, 1 / 255)).astype(dtype)


def smooth(height, width) -> np.ndarray:
    """A colour image with gradients, which survives lossy files."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.rint(255 * np.stack([y, x, (x + y) / 2], -1)).astype(np.uint8)


def over_white(colour, alpha) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(colour * share + 255 * (1 - share)).astype(np.uint8)


def as_three(grey) -> np.ndarray:
    return np.repeat(grey[..., None], 3, -1)


@pytest.fixture
def files(tmp_path) -> list[Path]:
    paths = []
    for index in range(20):
        paths.append(tmp_path / f"{index:02}.png")
        Image.fromarray(draw(*SIZE, 3, seed=index)).save(paths[-1])
    return paths


@contextlib.contextmanager
def no_stray_threads():
    yield
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = [t.name for t in threading.enumerate() if t.name.startswith("skpadim")]
        if not left:
            return
        time.sleep(0.005)
    raise AssertionError(f"threads still run: {left}")


class TestArrays:
    @pytest.mark.parametrize("kind", ["array", "tensor", "list", "tensors", "objects"])
    @pytest.mark.parametrize("channels", [None, 1, 3])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64", ">f4"])
    def test_every_layout_and_dtype(self, kind, channels, dtype):
        raw = draw(5, *SIZE, *([] if channels is None else [channels]))
        X = scaled(raw, dtype)
        if kind.startswith("tensor"):
            native = np.ascontiguousarray(X.astype(X.dtype.newbyteorder("=")))
            X = torch.from_numpy(native)
            X = X if channels is None else X.movedim(-1, 1)
        if kind in ("list", "tensors"):
            X = list(X)
        elif kind == "objects":
            X, items = np.empty(len(X), dtype=object), X
            X[:] = list(items)

        result = pixels(X)

        grey = raw[..., None] if channels is None else raw
        expected = np.broadcast_to(grey, (5, *SIZE, 3))
        assert result.dtype == (np.uint8 if dtype == "uint8" else np.float32)
        if dtype == "uint8":
            np.testing.assert_array_equal(result, expected)
        else:
            atol = 5e-4 if dtype == "float16" else 1e-6
            np.testing.assert_allclose(result, expected / 255, rtol=0, atol=atol)

    def test_uint16_is_scaled_by_65535(self):
        X = np.array([0, 1, 32768, 65535], dtype=np.uint16).reshape(1, 2, 2)
        expected = np.array([0, 1, 32768, 65535]) / 65535
        np.testing.assert_allclose(pixels(X, (2, 2))[0, ..., 0].ravel(), expected, rtol=1e-6)

    def test_bfloat16_and_gradients(self):
        X = torch.full((2, 3, *SIZE), 0.5, dtype=torch.bfloat16, requires_grad=True)
        np.testing.assert_array_equal(pixels(X), np.full((2, *SIZE, 3), 0.5, dtype=np.float32))

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_right_size_is_a_view(self, dtype):
        X = np.zeros((9, *SIZE, 3), dtype=dtype)
        batches = read(X, batch_size=4)
        addresses = [batch.pixels.data_ptr() for batch in batches]
        assert addresses == [X[start:].ctypes.data for start in (0, 4, 8)]
        tensor = torch.zeros((9, 3, *SIZE)).to(memory_format=torch.channels_last)
        assert read(tensor)[1].pixels.data_ptr() == tensor[4:].data_ptr()

    @pytest.mark.parametrize(
        "view",
        [
            lambda X: X[::-1],
            lambda X: X[:, ::-1, ::-1],
            lambda X: X[::2, :, :, ::-1],
            lambda X: np.asfortranarray(X),
            lambda X: np.broadcast_to(X[:1], X.shape),
        ],
    )
    @pytest.mark.parametrize("image_size", [SIZE, (7, 9)])
    def test_strided_views(self, view, image_size):
        X = draw(6, *SIZE, 3)
        expected = pixels(view(X).copy(order="C"), image_size)
        np.testing.assert_array_equal(pixels(view(X), image_size), expected)
        np.testing.assert_array_equal(pixels(list(view(X)), image_size), expected)

    @pytest.mark.parametrize("mode", ["r", "r+", "c"])
    def test_memory_map_is_never_whole_in_memory(self, tmp_path, mode):
        raw = draw(300, 64, 64, 3)
        np.save(tmp_path / "X.npy", raw)
        X = np.load(tmp_path / "X.npy", mmap_mode=mode)
        tracemalloc.start()
        total = 0
        for batch in check_images(X).batches(4, (64, 64), None, 1):
            total += int(batch.pixels.sum())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == raw.sum(dtype=np.int64)
        assert peak < raw.nbytes / 4

    def test_batches_are_numbered_and_channels_last(self):
        for X in (draw(10, *SIZE, 3), draw(10, *SIZE), draw(10, 30, 20, 3)):
            batches = read(X, batch_size=4, crop_size=(6, 7))
            assert [list(b.indices) for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
            for batch in batches:
                assert batch.pixels.shape == (len(batch), 3, 6, 7)
                assert batch.pixels.is_contiguous(memory_format=torch.channels_last)
                assert batch.original_sizes == [X.shape[1:3]] * len(batch)

    def test_arrays_start_no_threads(self):
        for X in (draw(4, 20, 20, 3), [draw(9, 9), torch.zeros(3, 5, 5)]):
            batches = check_images(X).batches(2, SIZE, None, 2)
            next(batches)
            assert not any(t.name.startswith("skpadim") for t in threading.enumerate())

    def test_floats_just_outside_are_clamped(self):
        X = np.full((2, *SIZE, 3), 1.0, dtype=np.float32)
        X[1] += 1e-7
        X[1, 0] = -1e-7
        result = pixels(X)
        assert result.min() == 0 and result.max() == 1


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


class TestBatchIndependence:
    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["uint8", "uint16", "float32", "float64", "pil", "tensor"]),
                st.sampled_from([SIZE, (30, 23), (5, 40), (64, 64)]),
                st.sampled_from([None, 1, 3]),
            ),
            min_size=1,
            max_size=9,
        ),
        st.integers(2, 12),
        st.integers(1, 3),
        st.sampled_from([None, (7, 5)]),
    )
    def test_pixels_do_not_depend_on_the_batch(self, plan, batch_size, n_jobs, crop_size):
        X = [self._make(*item, seed=index) for index, item in enumerate(plan)]
        alone = unit_pixels(X, batch_size=1, crop_size=crop_size)
        together = unit_pixels(X, batch_size=batch_size, n_jobs=n_jobs, crop_size=crop_size)
        np.testing.assert_array_equal(alone, together)

    @staticmethod
    def _make(kind, size, channels, seed):
        image = draw(*size, *([] if channels is None else [channels]), seed=seed)
        if kind == "pil":
            return Image.fromarray(image.squeeze(-1) if channels == 1 else image)
        if kind == "tensor":
            tensor = torch.from_numpy(image)
            return tensor if channels is None else tensor.movedim(-1, 0)
        return scaled(image, kind)

    @pytest.mark.parametrize("size", [SIZE, (61, 47)])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
    def test_a_stack_equals_its_images(self, size, dtype):
        X = scaled(draw(7, *size, 3), dtype)
        for batch_size in (1, 3, 7):
            np.testing.assert_array_equal(pixels(X, batch_size=batch_size), pixels(list(X), batch_size=2))

    def test_a_mixed_batch_is_float(self):
        byte, unit = draw(*SIZE, 3), np.full(SIZE, 0.5)
        first, second = read([byte, byte, unit, byte], batch_size=2)
        assert first.pixels.dtype == torch.uint8
        assert second.pixels.dtype == torch.float32
        expected = byte.astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(second.pixels[1].movedim(0, -1).numpy(), expected)


def save(image, path, **options):
    image.save(path, **options)
    return path


class TestFileModes:
    """Each mode at its own size, so that the file's pixels come out untouched."""

    @pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "gif", "ppm"])
    def test_grey_and_colour(self, tmp_path, suffix):
        grey = draw(*SIZE)
        options = {"lossless": True} if suffix == "webp" else {}
        path = save(Image.fromarray(grey), tmp_path / f"grey.{suffix}", **options)
        np.testing.assert_array_equal(pixels([path])[0], as_three(grey))
        if suffix != "gif":
            colour = draw(*SIZE, 3)
            path = save(Image.fromarray(colour), tmp_path / f"colour.{suffix}", **options)
            np.testing.assert_array_equal(pixels([path])[0], colour)

    def test_one_bit(self, tmp_path):
        black_or_white = draw(*SIZE) > 127
        path = save(Image.fromarray(black_or_white), tmp_path / "one.png")
        with Image.open(path) as image:
            assert image.mode == "1"
        np.testing.assert_array_equal(pixels([path])[0], as_three(np.uint8(255) * black_or_white))

    @pytest.mark.parametrize("as_object", [False, True])
    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    def test_transparency_over_white(self, tmp_path, mode, as_object):
        raw = draw(*SIZE, len(mode))
        raw[0, :, -1], raw[1, :, -1] = 0, 255
        path = save(Image.fromarray(raw), tmp_path / "alpha.png")
        with Image.open(path) as image:
            assert image.mode == mode
            image.load()
        colour = as_three(raw[..., 0]) if mode == "LA" else raw[..., :3]
        result = pixels([image if as_object else path])[0]
        np.testing.assert_array_equal(result, over_white(colour, raw[..., -1]))
        assert (result[0] == 255).all()

    def test_palette(self, tmp_path):
        palette, index = draw(4, 3, seed=1), draw(*SIZE) % 4
        image = Image.fromarray(index)
        image.putpalette(palette.tobytes())
        path = save(image, tmp_path / "palette.png")
        np.testing.assert_array_equal(pixels([path])[0], palette[index])

    @pytest.mark.parametrize("transparency", [2, bytes([255, 0, 100, 30])])
    def test_palette_with_transparency(self, tmp_path, transparency):
        palette, index = draw(4, 3, seed=1), draw(*SIZE) % 4
        image = Image.fromarray(index)
        image.putpalette(palette.tobytes())
        path = save(image, tmp_path / "palette.png", transparency=transparency)
        alpha = np.array([255, 255, 0, 255])
        if isinstance(transparency, bytes):
            alpha = np.frombuffer(transparency, np.uint8)
        np.testing.assert_array_equal(
            pixels([path])[0], over_white(palette[index], alpha[index].astype(float))
        )

    def test_transparent_colour_and_grey(self, tmp_path):
        colour = smooth(*SIZE)
        path = save(Image.fromarray(colour), tmp_path / "c.png", transparency=tuple(colour[3, 4].tolist()))
        expected = colour.copy()
        expected[(colour == colour[3, 4]).all(-1)] = 255
        np.testing.assert_array_equal(pixels([path])[0], expected)
        grey = draw(*SIZE)
        path = save(Image.fromarray(grey), tmp_path / "g.png", transparency=int(grey[0, 0]))
        np.testing.assert_array_equal(pixels([path])[0], as_three(np.where(grey == grey[0, 0], 255, grey)))

    @pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
    def test_sixteen_bits_are_kept(self, tmp_path, suffix):
        grey = draw(*SIZE).astype(np.uint16) * 257 + 1
        grey[0, 0] = 65535
        path = save(Image.fromarray(grey), tmp_path / f"deep.{suffix}")
        result = pixels([path])[0]
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, as_three(grey / 65535), rtol=1e-6)

    def test_big_endian_and_transparent_sixteen_bits(self, tmp_path):
        grey = np.arange(np.prod(SIZE), dtype=np.uint16).reshape(SIZE) * 300
        big = tmp_path / "big.tif"
        big.write_bytes(_big_endian_tiff(grey))
        with Image.open(big) as image:
            assert image.mode == "I;16B"
        np.testing.assert_allclose(pixels([big])[0], as_three(grey / 65535), rtol=1e-6)
        path = save(Image.fromarray(grey), tmp_path / "t.png", transparency=900)
        seen = np.where(grey == 900, 65535, grey) / 65535
        np.testing.assert_allclose(pixels([path])[0], as_three(seen), rtol=1e-6)

    def test_image_objects_of_thirty_two_bits_hold_sixteen(self, tmp_path):
        values = (draw(*SIZE).astype(np.int32) * 257).astype(np.int32)
        np.testing.assert_allclose(pixels([Image.fromarray(values)])[0], as_three(values / 65535), rtol=1e-6)
        values[3, 3] = 70000
        path = save(Image.fromarray(values), tmp_path / "deep.tif")
        with Image.open(path) as image, pytest.raises(ValueError, match=r"X\[0\] holds .*70000, .*0..65535"):
            read([image])

    def test_float_tiff(self, tmp_path):
        values = np.random.default_rng(0).random(SIZE, dtype=np.float32)
        path = save(Image.fromarray(values), tmp_path / "float.tif")
        np.testing.assert_array_equal(pixels([path])[0], as_three(values))
        for bad, words in ((7.5, "7.5, expected"), (np.nan, "NaN"), (np.inf, "infinity")):
            values[2, 2] = bad
            save(Image.fromarray(values), path)
            with pytest.raises(ValueError, match=rf"X\[1\] \(.*float.tif.*{words}"):
                read([draw(*SIZE), path])

    def test_cmyk(self, tmp_path):
        raw = np.zeros((*SIZE, 4), np.uint8)
        raw[:, :6, 0], raw[:, 6:12, 1], raw[:6, :, 3] = 255, 255, 255
        image = Image.frombytes("CMYK", SIZE[::-1], raw.tobytes())
        path = save(image, tmp_path / "ink.tif")
        ink = raw / 255
        expected = np.rint(255 * (1 - ink[..., :3]) * (1 - ink[..., 3:]))
        np.testing.assert_array_equal(pixels([path])[0], expected)
        np.testing.assert_array_equal(pixels([image])[0], expected)
        jpeg = save(image, tmp_path / "ink.jpg", quality=100, subsampling=0)
        assert np.abs(pixels([jpeg])[0] - expected).mean() < 8

    @pytest.mark.parametrize("mode", ["CMYK", "RGB"])
    def test_icc_profiles_are_not_applied(self, tmp_path, mode):
        image = Image.frombytes(mode, SIZE[::-1], draw(*SIZE, len(mode)).tobytes())
        plain = save(image, tmp_path / "plain.tif")
        # Pillow makes no CMYK profile: any other shows that profiles are left alone.
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        tagged = save(image, tmp_path / "tagged.tif", icc_profile=profile)
        with Image.open(tagged) as reopened:
            assert reopened.info["icc_profile"] == profile
        np.testing.assert_array_equal(pixels([tagged]), pixels([plain]))

    def test_jpeg_like_a_person_sees_it(self, tmp_path):
        colour = smooth(*SIZE)
        path = save(Image.fromarray(colour), tmp_path / "c.jpg", quality=95, subsampling=0)
        assert np.abs(pixels([path])[0].astype(int) - colour).mean() < 3

    @pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
    def test_first_frame(self, tmp_path, suffix):
        frames = [Image.fromarray(np.full(SIZE, value, np.uint8)) for value in (10, 200)]
        path = tmp_path / f"film.{suffix}"
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        with Image.open(path) as image:
            assert image.n_frames == 2
        assert (pixels([path]) == 10).all()

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("as_object", [False, True])
    def test_exif_orientation(self, tmp_path, orientation, as_object):
        stored = draw(*SIZE, 3)
        upright = {
            1: stored,
            2: stored[:, ::-1],
            3: np.rot90(stored, 2),
            4: stored[::-1],
            5: stored.swapaxes(0, 1),
            6: np.rot90(stored, -1),
            7: np.rot90(stored, 2).swapaxes(0, 1),
            8: np.rot90(stored, 1),
        }[orientation]
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(Image.fromarray(stored), tmp_path / "turned.png", exif=exif)
        with contextlib.ExitStack() as stack:
            item = stack.enter_context(Image.open(path)) if as_object else path
            (batch,) = read([item], upright.shape[:2])
            if as_object:
                assert item.size == SIZE[::-1]
                assert item.getexif()[0x0112] == orientation
        assert batch.original_sizes == [upright.shape[:2]]
        np.testing.assert_array_equal(batch.pixels[0].movedim(0, -1).numpy(), upright)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize("compression", [None, "tiff_lzw"])
    def test_orientation_of_tiffs(self, tmp_path, dtype, compression):
        grey = scaled(draw(*SIZE), np.dtype(dtype).name)
        exif = Image.Exif()
        exif[0x0112] = 6
        path = tmp_path / "turned.tif"
        save(Image.fromarray(grey), path, exif=exif, compression=compression)
        result = unit_pixels([path], SIZE[::-1])[0, 0]
        expected = np.rot90(grey, -1) / (1.0 if dtype == np.float32 else np.iinfo(dtype).max)
        np.testing.assert_allclose(result, expected, rtol=1e-6)


def _big_endian_tiff(grey: np.ndarray) -> bytes:
    height, width = grey.shape
    entries = [
        (256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1),
        (273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, 2 * grey.size),
    ]  # fmt: skip
    directory = struct.pack(">H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack(">HHI", tag, kind, 1)
        directory += struct.pack(">I", value) if kind == 4 else struct.pack(">HH", value, 0)
    data = grey.astype(">u2").tobytes()
    return struct.pack(">2sHI", b"MM", 42, 8 + len(data)) + data + directory + bytes(4)


class TestCollections:
    def test_every_way_to_give_paths(self, files):
        expected = np.stack([draw(*SIZE, 3, seed=index) for index in range(len(files))])
        names = [str(path) for path in files]
        ways = [files, tuple(files), names, np.array(names), np.array(files, dtype=object)]
        ways += [pd.Series(names), pd.Series(files), pd.Series(names, index=range(40, 60))]
        ways += [pd.Index(names), [_Pathlike(name) for name in names]]
        if hasattr(np.dtypes, "StringDType"):
            ways.append(np.array(names, dtype=np.dtypes.StringDType()))
        for X in ways:
            np.testing.assert_array_equal(pixels(X), expected)
            assert check_images(X).describe(3) == f"X[3] ({names[3]!r})"

    def test_a_mixture(self, files):
        grey, colour = draw(30, 20), draw(*SIZE, 3, seed=0)
        tensor = torch.from_numpy(colour).movedim(-1, 0)
        X = [files[0], colour, Image.fromarray(colour), tensor, grey]
        (batch,) = read(X, batch_size=8)
        assert batch.original_sizes == [SIZE, SIZE, SIZE, SIZE, (30, 20)]
        for image in batch.pixels[:4]:
            np.testing.assert_array_equal(image.movedim(0, -1).numpy(), colour)
        assert [check_images(X).describe(i) for i in (1, 2)] == ["X[1]", "X[2]"]

    def test_a_lazy_image_object_given_twice(self, tmp_path):
        expected = draw(400, 400, 3)
        path = save(Image.fromarray(expected), tmp_path / "large.png")
        for _ in range(3):
            with Image.open(path) as image:
                result = pixels([image] * 8, (400, 400), n_jobs=8)
            np.testing.assert_array_equal(result, np.broadcast_to(expected, result.shape))

    def test_checking_decodes_nothing(self, monkeypatch, files):
        monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("a file was opened"))
        assert len(check_images([*files, "no/such/file.png"], min_images=3)) == 21


class TestSkipping:
    @pytest.mark.parametrize("batch_size", [1, 3, 20])
    def test_what_cannot_be_read_is_left_out_and_named(self, files, batch_size):
        expected = pixels(files)
        for index in (3, 4, 5, 19):
            files[index].write_bytes(b"no image")
        X = [*files, "missing.png", np.full(SIZE, np.nan), draw(*SIZE, 3)]
        images = check_images(X, on_error="skip")
        with no_stray_threads():
            batches = list(images.batches(batch_size, SIZE, None, 2))
        read_indices = [0, 1, 2, *range(6, 19), 22]
        assert [index for batch in batches for index in batch.indices] == read_indices
        assert all(len(batch) == len(batch.indices) == len(batch.pixels) > 0 for batch in batches)
        result = np.concatenate([unit_of(batch) for batch in batches])
        np.testing.assert_array_equal(result[:-1], expected[read_indices[:-1]] / np.float32(255))
        assert sorted(images.failures) == [3, 4, 5, 19, 20, 21]
        assert images.failures[4].startswith(f"X[4] ({str(files[4])!r}) cannot be read as an image: ")
        assert images.failures[21] == "X[21] contains NaN or infinity."
        with pytest.warns(UserWarning, match=r"6 of 23 images in X could not be read.*the first: X\[3\]"):
            images.warn_of_failures()

    @pytest.mark.parametrize("make", [lambda X: X, list, torch.from_numpy])
    def test_arrays(self, make):
        X = np.zeros((5, *SIZE), np.float32)
        X[1], X[2, 3, 3] = np.nan, 7
        images = check_images(make(X), on_error="skip")
        assert [list(batch.indices) for batch in images.batches(2, SIZE, None, 1)] == [[0], [3], [4]]
        assert list(images.failures) == [1, 2]

    def test_some_images_alone(self, files):
        files[7].write_bytes(b"no image")
        images = check_images(files, on_error="skip")
        (batch,) = images.batches(4, SIZE, None, 2, only=[9, 7, 1])
        assert list(batch.indices) == [9, 1]
        assert list(images.failures) == [7]

    def test_nothing_to_tell(self, files, recwarn):
        images = check_images(files, on_error="skip")
        list(images.batches(8, SIZE, None, 2))
        images.warn_of_failures()
        assert not images.failures and not recwarn.list

    def test_what_is_no_image_at_all_is_refused_still(self):
        with pytest.raises(TypeError, match=r"X\[1\] must be a path"):
            check_images(["a.png", None], on_error="skip")
        with pytest.raises(ValueError, match="on_error='ignore' must be 'raise' or 'skip'"):
            check_images(["a.png"], on_error="ignore")


def unit_of(batch) -> np.ndarray:
    values = batch.pixels.movedim(1, -1).numpy()
    return values / np.float32(255) if values.dtype == np.uint8 else values


class TestDigests:
    def test_of_a_file_and_of_how_it_is_read(self, files):
        copy = files[0].with_name("copy.png")
        copy.write_bytes(files[0].read_bytes())
        of = {
            value_range: [
                check_images([*files[:2], copy], value_range=value_range).digest(i) for i in range(3)
            ]
            for value_range in ("auto", 12)
        }
        for first, other, same in of.values():
            assert first == same != other
        assert of["auto"][0] != of[12][0]


class _Pathlike:
    def __init__(self, path):
        self._path = path

    def __fspath__(self):
        return self._path


class TestThreads:
    def test_one_batch_is_decoded_ahead_and_no_more(self, monkeypatch, files):
        opened = _record_opened(monkeypatch)
        batches = check_images(files).batches(4, SIZE, None, 2)
        assert not opened
        next(batches)
        _wait_for(lambda: len(opened) == 8)
        time.sleep(0.05)
        assert sorted(opened) == files[:8]
        next(batches)
        _wait_for(lambda: len(opened) == 12)
        batches.close()

    @pytest.mark.parametrize("batch_size", [1, 3, 20, 50])
    @pytest.mark.parametrize("n_jobs", [1, 4])
    def test_order_and_end(self, files, batch_size, n_jobs):
        with no_stray_threads():
            result = pixels(files, batch_size=batch_size, n_jobs=n_jobs)
        expected = [draw(*SIZE, 3, seed=index) for index in range(len(files))]
        np.testing.assert_array_equal(result, expected)

    def test_no_more_threads_than_asked_for(self, monkeypatch, files):
        opened, inside, most = _record_opened(monkeypatch), [], []
        original = decoding._as_seen

        def count(image):
            inside.append(image)
            most.append(len(inside))
            time.sleep(0.002)
            inside.remove(image)
            return original(image)

        monkeypatch.setattr(decoding, "_as_seen", count)
        read(files, n_jobs=2)
        assert max(most) == 2
        assert threading.get_ident() not in opened.values()

    def test_closing_cancels_what_is_ahead(self, monkeypatch, files):
        opened = _record_opened(monkeypatch, seconds=0.02)
        batches = check_images(files).batches(8, SIZE, None, 1)
        next(batches)
        with no_stray_threads():
            batches.close()
        assert len(opened) <= 10

    def test_letting_go_ends_the_threads(self, files):
        batches = check_images(files).batches(2, SIZE, None, 2)
        next(batches)
        with no_stray_threads():
            del batches
            gc.collect()

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_an_error_of_the_consumer_ends_the_threads(self, files, error):
        def consume():
            for _ in check_images(files).batches(2, SIZE, None, 2):
                raise error

        # `caught` keeps the traceback, and so the suspended iterator, alive, as an interactive session does.
        with no_stray_threads(), pytest.raises(error) as caught:
            consume()
        assert caught.traceback

    def test_a_failing_batch_ends_the_threads(self, monkeypatch, files):
        def fail(*_):
            raise MemoryError

        monkeypatch.setattr(torch, "cat", fail)
        # `caught` keeps the traceback, and so the frames, alive.
        with no_stray_threads(), pytest.raises(MemoryError) as caught:
            read(files)
        assert caught.traceback

    def test_an_interrupt_while_waiting_ends_the_threads(self, monkeypatch, files):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(decoding, "_as_seen", interrupt)
        with no_stray_threads(), pytest.raises(KeyboardInterrupt):
            read(files)

    def test_the_first_bad_file_is_reported(self, files):
        for index in (13, 6):
            files[index].write_bytes(b"no image")
        with no_stray_threads(), pytest.raises(ValueError, match=r"X\[6\] \('.*06.png'\)"):
            read(files, batch_size=20, n_jobs=4)

    def test_many_callers_at_once(self, files):
        images = [Image.open(path) for path in files]
        expected = pixels(files)
        results, callers = [], []
        for _ in range(6):
            callers.append(threading.Thread(target=lambda: results.append(pixels(images))))
            callers[-1].start()
        for caller in callers:
            caller.join()
        for image in images:
            image.close()
        assert len(results) == 6
        for result in results:
            np.testing.assert_array_equal(result, expected)


def _record_opened(monkeypatch, seconds=0.0) -> dict[Path, int]:
    """Record which files are opened, and by which thread."""
    opened, original = {}, Image.open

    def record(file):
        opened[Path(file.name)] = threading.get_ident()
        time.sleep(seconds)
        return original(file)

    monkeypatch.setattr(Image, "open", record)
    return opened


def _wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class TestBadCollections:
    @pytest.mark.parametrize(
        ("X", "words"),
        [
            ([], "n_samples=0"),
            (np.empty((0, 8, 8, 3), np.uint8), "n_samples=0"),
            (np.array([]), "n_samples=0"),
            (torch.empty(0, 3, 8, 8), "n_samples=0"),
            (draw(9, 9), r"shape \(9, 9\) looks like a single image: wrap it in a list, \[X\]"),
            (draw(9, 9, 3), "single image: wrap"),
            (draw(9, 9, 4), "single image: wrap"),
            (torch.zeros(9, 9), "single image: wrap"),
            (Image.new("RGB", (5, 5)), "single PIL image: wrap"),
            ("photos/*.png", r"photos/\*.png.*looks like a pattern.*sorted\(glob.glob\('photos/\*.png'\)\)"),
            (Path("part[12].png"), "looks like a pattern"),
            (np.ma.masked_less(draw(2, 9, 9), 50), r"masked array.*X.filled\(value\).*ignore"),
            ([draw(9, 9), np.ma.masked_less(draw(9, 9), 50)], r"X\[1\] is a masked array"),
            ("part.png", r"single path, 'part.png': wrap it in a list, \[X\]"),
            (Path("part.png"), "single path, 'part.png': wrap"),
            (np.str_("part.png"), "single path, 'part.png': wrap"),
            (draw(5), r"\(n, height, width, 3\), got \(5,\)"),
            (np.float64(0.5), "got"),
            (torch.tensor(0.5), r"\(n, 3, height, width\), got"),
            (draw(2, 3, 4, 5, 3), r"got \(2, 3, 4, 5, 3\)"),
            (draw(2, 8, 8, 4), "X has 4 channels.*convert to RGB"),
            (draw(2, 8, 8, 2), "X has 2 channels.*grey or RGB"),
            (draw(2, 3, 8, 8), r"channels come last, use numpy.moveaxis\(array, -3, -1\)"),
            (torch.zeros(2, 8, 8, 3), r"channels come first, use tensor.movedim\(-1, -3\)"),
            (torch.zeros(2, 4, 8, 8), "X has 4 channels.*convert to RGB"),
            (np.empty((2, 0, 8), np.uint8), "no pixels"),
            ([draw(8, 8), draw(0, 8)], r"X\[1\] has no pixels"),
            ([Image.new("L", (0, 4))], r"X\[0\] has no pixels"),
            ([draw(8, 8), draw(2, 8, 8, 3)], r"X\[1\] must have 2 or 3 axes.*\(2, 8, 8, 3\)"),
            ([draw(8, 8, 4)], r"X\[0\] has 4 channels.*convert to RGB"),
            ([draw(3, 8, 8)], r"X\[0\] has 8 channels.*channels come last"),
            ([torch.zeros(8, 8, 3)], r"X\[0\] has 8 channels.*channels come first"),
            (np.zeros((2, 8, 8), complex), "Complex data not supported"),
            ([torch.zeros(8, 8, dtype=torch.complex64)], r"Complex.*X\[0\]"),
            (np.array([["a", "b"], ["c", "d"]]), "one column"),
            (pd.DataFrame({"path": ["a"], "label": ["b"]}), "one column"),
        ],
    )
    def test_wrong_values(self, X, words):
        with pytest.raises(ValueError, match=words):
            check_images(X)

    @pytest.mark.parametrize(
        ("X", "words"),
        [
            (None, "got NoneType"),
            (5, "got int"),
            (b"part.png", "got bytes"),
            ({"a": draw(8, 8)}, "got dict"),
            ({"a.png", "b.png"}, "got set"),
            (OrderedDict(a=1), "dictionaries"),
            (scipy.sparse.eye(4).tocsr(), "sparse matrices are not supported"),
            (scipy.sparse.eye_array(4), "sparse matrices are not supported"),
            (torch.eye(4).to_sparse(), "sparse tensor"),
            ((name for name in ["a.png"]), r"generator.*list\(X\)"),
            (iter(["a.png"]), r"read only once.*list\(X\)"),
            (["a.png", None], r"X\[1\] must be a path.*got NoneType"),
            (["a.png", 3.5], r"X\[1\].*got float"),
            ([b"a.png"], r"X\[0\].*got bytes"),
            ([[[0, 1], [1, 0]]], r"X\[0\].*got list"),
            (np.array(["a.png", None], dtype=object), r"X\[1\].*got NoneType"),
            (range(3), r"X\[0\].*got int"),
            (np.zeros((2, 8, 8), bool), "dtype bool.*uint8 times 255"),
            (np.zeros((2, 8, 8), np.int64), "dtype int64.*scale it"),
            (torch.zeros(2, 8, 8, dtype=torch.int32), "dtype int32.*scale it"),
            (torch.zeros(2, 8, 8, dtype=torch.bool), "dtype bool"),
            ([draw(8, 8), np.zeros((8, 8), np.int8)], r"X\[1\] has dtype int8"),
            ([np.full((2, 2), None)], r"X\[0\] has dtype object"),
            (np.zeros((2, 8, 8), "datetime64[s]"), "dtype datetime64"),
        ],
    )
    def test_wrong_types(self, X, words):
        with pytest.raises(TypeError, match=words):
            check_images(X)

    def test_masked_arrays_that_mask_nothing(self):
        X = draw(2, *SIZE)
        np.testing.assert_array_equal(pixels(np.ma.masked_array(X)), pixels(X))
        np.testing.assert_array_equal(pixels([np.ma.masked_array(X[0])]), pixels(X[:1]))

    def test_an_empty_list_may_come_of_a_pattern(self):
        with pytest.raises(ValueError, match=r"n_samples=0.*pattern found them, look at"):
            check_images([])

    def test_a_pattern_in_a_list(self):
        with pytest.raises(ValueError, match=r"X\[0\].*no such file. It looks like a pattern.*glob.glob"):
            read(["photos/*.png"])

    def test_too_few(self):
        with pytest.raises(ValueError, match=r"Found n_samples=1 image\(s\).*at least 3 are needed"):
            check_images(["a.png"], min_images=3)

    def test_a_folder(self, tmp_path):
        for X in (tmp_path, str(tmp_path)):
            with pytest.raises(ValueError, match=r"X is a directory: .*sorted\(Path\('.*'\)\.glob"):
                check_images(X)
        with pytest.raises(ValueError, match=r"X\[0\].*it is a directory.*sorted\(Path"):
            read([tmp_path])
        for name in ("a.txt", "b.txt", "c.txt", "a.JPG", "b.JPG", "a.png"):
            (tmp_path / name).touch()
        with pytest.raises(ValueError, match=r"glob\('\*\.JPG'\)"):
            check_images(tmp_path)

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (np.nan, "NaN or infinity"),
            (np.inf, "NaN or infinity"),
            (-np.inf, "NaN or infinity"),
            (1e300, "NaN or infinity"),
            (255.0, r"from 0 to 255, expected \[0, 1\]: divide 8-bit values by 255"),
            (-0.5, "from -0.5 to 0"),
        ],
    )
    @pytest.mark.parametrize("image_size", [SIZE, (9, 9)])
    @pytest.mark.parametrize("make", [lambda X: X, list, torch.from_numpy])
    def test_bad_floats_are_named(self, value, words, image_size, make):
        X = np.zeros((6, *SIZE))
        X[4, 2, 3] = value
        with pytest.raises(ValueError, match=rf"^X\[4\] .*{words}"):
            read(make(X), image_size)


def _png(width, height, data=b"", depth=8, colour=2) -> bytes:
    def chunk(kind, body):
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


class TestBadFiles:
    @pytest.mark.parametrize(
        "content",
        {
            "empty": b"",
            "text": b"no image at all",
            "png signature alone": b"\x89PNG\r\n\x1a\n",
            "jpeg marker alone": b"\xff\xd8\xff\xe0\x00\x10JFIF",
            "no pixels": _png(0, 5),
            "too little data": _png(50, 50, b"123"),
            "enormous": _png(2**31 - 1, 2**31 - 1),
            "unknown depth": _png(5, 5, depth=3),
            "bmp": b"BM" + bytes(60),
            "gif": b"GIF89a" + bytes(3),
            "tiff": b"II*\x00\xff\xff\xff\x7f",
            "webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
            "ico": b"\x00\x00\x01\x00\x01\x00" + bytes(16),
            "psd": b"8BPS\x00\x01" + bytes(20),
            "ppm": b"P6 99999999 99999999 255\n",
            "pcx": b"\x0a\x05\x01\x08" + bytes(124),
            "tga": bytes(18),
        }.items(),
        ids=lambda item: item[0],
    )
    def test_not_an_image(self, tmp_path, content):
        path = tmp_path / "broken.png"
        path.write_bytes(content[1])
        with no_stray_threads(), pytest.raises(ValueError) as caught:
            read([draw(*SIZE), path])
        assert str(caught.value).startswith(f"X[1] ({str(path)!r}) cannot be read as an image: ")
        assert caught.value.__cause__ is not None

    @pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "gif"])
    def test_truncated(self, tmp_path, suffix):
        path = save(Image.fromarray(draw(64, 64, 3)), tmp_path / f"cut.{suffix}")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match=rf"X\[0\] \('.*cut.{suffix}'\) cannot be read"):
            read([path])

    @pytest.mark.parametrize("name", ["no such.png", "a\0b.png", "x" * 5000])
    def test_missing(self, tmp_path, name):
        with pytest.raises(ValueError, match=r"X\[0\].*cannot be read.*there is no such file"):
            read([os.path.join(tmp_path, name)])

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
    def test_a_named_pipe_does_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ValueError, match="it is a pipe"):
            read([tmp_path / "pipe.png"])

    def test_postscript_is_not_run(self, tmp_path, monkeypatch):
        monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_args: pytest.fail("Ghostscript was run"))
        path = tmp_path / "program.png"
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n")
        with pytest.raises(ValueError, match=r"X\[0\] .*it is PostScript.*convert it first"):
            read([path])
        with Image.open(path) as image, pytest.raises(ValueError, match=r"X\[0\] .*it is PostScript"):
            read([image])

    def test_a_closed_image_object(self, files):
        image = Image.open(files[0])
        image.close()
        with pytest.raises(ValueError, match=r"X\[1\] cannot be read as an image"):
            read([draw(*SIZE), image])

    @pytest.mark.parametrize("action", ["error", "ignore"])
    @pytest.mark.parametrize("side", [11, 20])
    @pytest.mark.parametrize("as_object", [False, True])
    def test_decompression_bomb(self, tmp_path, monkeypatch, action, side, as_object):
        path = save(Image.fromarray(draw(side, side)), tmp_path / "bomb.png")
        with contextlib.ExitStack() as stack:
            item = stack.enter_context(Image.open(path)) if as_object else path
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
            stack.enter_context(warnings.catch_warnings(action=action))
            with pytest.raises(ValueError, match=r"X\[0\].*raise PIL.Image.MAX_IMAGE_PIXELS"):
                read([item])
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
            assert len(read([item])) == 1

    @pytest.mark.parametrize(
        "error",
        [MemoryError(), OverflowError("x"), struct.error("x"), EOFError(), SyntaxError("x")],
    )
    def test_whatever_pillow_raises(self, monkeypatch, files, error):
        def fail(*_args, **_kwargs):
            raise error

        monkeypatch.setattr(Image, "open", fail)
        with pytest.raises(ValueError, match=r"X\[0\] .*: (x|\w+Error)$") as caught:
            read(files)
        assert caught.value.__cause__ is error

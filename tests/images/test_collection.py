"""How images of all kinds become pixels, whatever their batch, and what is said of those that cannot."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reading import (
    SIZE,
    draw,
    no_stray_threads,
    pixels,
    read,
    save,
    scaled,
    unit_pixels,
)
from skpadim.images.collection import check_images


class TestArrays:
    def test_uint16_is_scaled_by_65535(self):
        X = np.array([0, 1, 32768, 65535], dtype=np.uint16).reshape(1, 2, 2)
        expected = np.array([0, 1, 32768, 65535]) / 65535
        np.testing.assert_allclose(pixels(X, (2, 2))[0, ..., 0].ravel(), expected, rtol=1e-6)

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
    def test_pixels_do_not_depend_on_the_batch(self, plan, batch_size, n_threads, crop_size):
        X = [self._make(*item, seed=index) for index, item in enumerate(plan)]
        alone = unit_pixels(X, batch_size=1, crop_size=crop_size)
        together = unit_pixels(X, batch_size=batch_size, n_threads=n_threads, crop_size=crop_size)
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


class TestCollections:
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
                result = pixels([image] * 8, (400, 400), n_threads=8)
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


class TestBadFloats:
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

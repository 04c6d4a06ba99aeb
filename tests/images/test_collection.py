"""What may be X, how it becomes pixels, and what is said of what may not."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as torchvision_functional

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
from skpadim.images import decoding
from skpadim.images.collection import centre_window, check_images


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

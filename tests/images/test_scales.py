"""Which values are black and white: as passed, else as stated, else as the type says."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skpadim.images.collection import check_images
from skpadim.images.scales import RangeSeen, Raster, check_value_range, scale

SIZE = (12, 17)


def draw(dtype, low, high, n=4) -> np.ndarray:
    values = np.random.default_rng(0).uniform(low, high, (n, *SIZE, 3))
    values[0, 0, 0], values[0, 0, 1] = low, high
    return values.astype(dtype)


def read(X, **options) -> np.ndarray:
    images = check_images(X, **options)
    pixels = torch.cat([batch.pixels for batch in images.batches(3, SIZE, None, n_threads=1)])
    return pixels.movedim(1, -1).numpy()


class TestValueRange:
    @pytest.mark.parametrize("kind", ["array", "arrays", "tensor", "tensors"])
    @pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f2", "f4", "f8"])
    def test_low_and_high(self, kind, dtype):
        X = draw(dtype, 20, 120)
        expected = np.clip((X.astype("f8") - 30) / 70, 0, 1)
        if kind.startswith("tensor"):
            X = torch.from_numpy(X).movedim(-1, 1)
        if kind.endswith("s"):
            X = list(X)
        assert_allclose(read(X, value_range=(30, 100)), expected, atol=1e-3 if dtype == "f2" else 1e-6)

    @pytest.mark.parametrize("bits", [8, 10, 12, 14])
    def test_bits(self, bits):
        X = draw("u2", 0, 2**bits - 1)
        assert_allclose(read(X, value_range=bits), X / (2**bits - 1), atol=1e-7)

    def test_more_than_the_bits_hold(self):
        X = draw("u2", 0, 5000)
        with pytest.raises(ValueError, match=r"^X\[0\] holds integers from 0 to 5000, expected 0..4095"):
            read(X, value_range=12)

    def test_bytes_in_their_own_range_are_left_alone(self):
        X = draw("u1", 0, 255)
        for value_range in ("auto", "dtype", 8, (0, 255)):
            result = read(X, value_range=value_range)
            assert result.dtype == np.uint8
            assert_array_equal(result, X)

    def test_signed_integers_of_a_type(self):
        X = draw("i2", -(2**15), 2**15 - 1)
        assert_allclose(read(X, value_range="dtype"), (X.astype("f8") + 2**15) / 65535, atol=1e-6)

    def test_what_is_passed_is_not_written_to(self):
        for dtype in ("u1", "u2", "f4", "f8"):
            X = draw(dtype, 0, 1)
            before = X.copy()
            read(X, value_range=(0.2, 0.6))
            assert_array_equal(X, before)

    @pytest.mark.parametrize(
        "wrong", ["bits", 0, 33, True, 12.0, None, (1, 0), (3, 3), (0, np.inf), (0, 1, 2), (0, "1"), {0, 1}]
    )
    def test_no_such_range(self, wrong):
        with pytest.raises(ValueError, match=r"value_range=.* must be 'auto', 'dtype', a number of bits"):
            check_images(["a.png"], value_range=wrong)

    @pytest.mark.parametrize("right", ["auto", "dtype", 12, (0, 4095), [-1.0, 1.0], np.array([0, 1])])
    def test_such_ranges(self, right):
        value_range = check_value_range(right)
        assert value_range == (right if isinstance(right, str | int) else tuple(right))

    def test_normalised_tensors_are_told_so(self):
        unit = draw("f4", 0, 1)
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        for normalised in ((unit - mean) / std, unit * 2 - 1):
            with pytest.raises(ValueError, match=r"X\[0\] holds floats.*normalised by a mean") as caught:
                read(normalised)
            assert "255" not in str(caught.value)
        assert_allclose(read(unit * 2 - 1, value_range=(-1, 1)), unit, atol=1e-6)
        with pytest.raises(ValueError, match="divide 8-bit values by 255"):
            read(unit * 255)
        with pytest.raises(ValueError, match=r"from 0 to 4095.*pass value_range=\(low, high\)"):
            read(unit * 4095)


class TestScale:
    def test_inverted(self):
        for dtype in ("u1", "u2"):
            values = draw(dtype, 0, np.iinfo(dtype).max)[0]
            shares, _ = scale(Raster(values, inverted=True))
            expected = 1 - values / np.iinfo(dtype).max
            assert_allclose(shares / (255 if dtype == "u1" else 1), expected, atol=1e-6)

    def test_share_beyond(self):
        values = np.arange(100, dtype=np.uint16).reshape(10, 10)
        shares, beyond = scale(Raster(values), (10, 79))
        assert beyond == 0.3
        assert shares.min() == 0 and shares.max() == 1


class TestRangeSeen:
    """The sixteenth is of all photos together, whatever is in each."""

    @pytest.mark.parametrize(
        ("low", "high", "narrow"),
        [(0, 4095, True), (0, 1023, True), (20000, 22040, True), (0, 4300, False), (0, 65535, False)],
    )
    @pytest.mark.parametrize("as_list", [True, False])
    def test_of_integers(self, low, high, narrow, as_list, recwarn):
        X = draw("u2", low, high)
        images = check_images(list(X) if as_list else X)
        for _ in images.batches(2, SIZE, None, n_threads=1):
            pass
        if not narrow:
            images.warn_of_range()
            assert not recwarn.list
            return
        with pytest.warns(UserWarning, match=r"All photos together use 0\.0\d+ of .*value_range=bits"):
            images.warn_of_range()

    def test_hot_pixels_use_no_range(self):
        X = np.tile(draw("u2", 0, 4095), (1, 40, 40, 1))
        X[0, 3, 4] = 65535
        images = check_images(X)
        list(images.batches(2, SIZE, None, n_threads=1))
        with pytest.warns(UserWarning, match="All photos together use"):
            images.warn_of_range()

    def test_photos_that_are_dark_and_bright_by_turns(self, recwarn):
        X = [np.full(SIZE, value, np.uint16) for value in (100, 60000)]
        images = check_images(X)
        list(images.batches(2, SIZE, None, n_threads=1))
        images.warn_of_range()
        assert not recwarn.list

    def test_blank_photos_have_no_range(self, recwarn):
        images = check_images(np.zeros((4, *SIZE), np.uint8))
        list(images.batches(2, SIZE, None, n_threads=1))
        images.warn_of_range()
        check_images(np.zeros((4, *SIZE), np.uint8)).warn_of_range()  # nothing read
        assert not recwarn.list

    def test_far_beyond(self):
        images = check_images(draw("u2", 0, 65535), value_range=(0, 4095))
        list(images.batches(2, SIZE, None, n_threads=1))
        with pytest.warns(UserWarning, match=r"9\d% of all pixels lie beyond value_range"):
            images.warn_of_range()

    def test_many_threads(self):
        seen = RangeSeen()
        shares = np.linspace(0.2, 0.24, 1000)

        def add(part):
            for share in part:
                seen.add(np.array([share]), beyond=0.0)

        threads = [threading.Thread(target=add, args=(shares[start::8],)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert "use 0.04 of their range of values, from 0.2 to 0.24" in seen.explain()

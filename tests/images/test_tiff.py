"""TIFF files of every depth, sign, compression and orientation of their pages."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from deep_photos import SIZE, as_three, photo, png, read, write

imagecodecs = pytest.importorskip("imagecodecs")

pydicom = pytest.importorskip("pydicom")

tifffile = pytest.importorskip("tifffile")


class TestTiff:
    @pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
    @pytest.mark.parametrize("compression", [None, "zstd", "lerc"])
    def test_floats(self, tmp_path, dtype, compression):
        if dtype == "f2" and compression == "lerc":
            pytest.skip("not of that format")
        values = np.random.default_rng(0).random(SIZE).astype(dtype)
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, values, photometric="minisblack", compression=compression)
        assert_allclose(read(path), as_three(values.astype("f4")), rtol=1e-6)
        tifffile.imwrite(path, values * 400 - 100, photometric="minisblack", compression=compression)
        with pytest.raises(ValueError, match=r"X\[0\].*holds floats from .*value_range="):
            read(path)
        expected = as_three((values.astype("f8") * 400).clip(0, 400) / 400)
        assert_allclose(read(path, value_range=(-100, 300)), expected, atol=1e-3 if dtype == "f2" else 1e-6)

    @pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4", "i8"])
    def test_integers_whose_range_nothing_states(self, tmp_path, dtype):
        values = photo(8).astype(dtype) if dtype != "i1" else (photo(8) // 2).astype("i1") - 60
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, values, photometric="minisblack")
        with pytest.raises(ValueError, match=rf"X\[0\] .*holds {np.dtype(dtype).name} from .*value_range="):
            read(path)
        low, high = -60, 255
        assert_allclose(read(path, value_range=(low, high)), as_three((values + 60.0) / 315), atol=1e-6)
        limits = np.iinfo(dtype)
        expected = (values.astype("f8") - limits.min) / (float(limits.max) - limits.min)
        assert_allclose(read(path, value_range="dtype"), as_three(expected), atol=1e-7)

    def test_bytes_in_thirty_two_bits(self, tmp_path):
        values = photo(8).astype(np.uint32)
        tag = (281, "I", 1, 255, True)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", extratags=[tag])
        assert_allclose(read(tmp_path / "a.tif"), as_three(values / 255), atol=1e-6)

    def test_large_integers_lose_nothing_before_the_subtraction(self, tmp_path):
        values = photo(8).astype(np.int32) + 2**30
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
        result = read(tmp_path / "a.tif", value_range=(2**30, 2**30 + 255))
        assert_allclose(result, as_three((values - 2**30) / 255), atol=1e-6)

    @pytest.mark.parametrize("dtype", ["u1", "u2"])
    @pytest.mark.parametrize("installed", [True, False])
    def test_min_is_white(self, tmp_path, dtype, installed, request):
        if not installed:
            request.getfixturevalue("without_formats")
        values = photo(np.dtype(dtype).itemsize * 8)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
        expected = 1 - values / np.iinfo(dtype).max
        assert_allclose(read(tmp_path / "a.tif"), as_three(expected), atol=1e-6)

    @pytest.mark.parametrize("channels", [2, 5, 8])
    @pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
    def test_channels_that_are_no_colours(self, tmp_path, channels, dtype):
        values = np.ones((*SIZE, channels), dtype)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
        with pytest.raises(ValueError, match=rf"a.tif.*it has {channels} channels.*pass three"):
            read(tmp_path / "a.tif")

    @pytest.mark.parametrize(
        "tags",
        [
            {"subfiletype": 1},
            {"extratags": [(50706, "B", 4, (1, 4, 0, 0), True)]},
            {"extratags": [(255, "H", 1, 2, True)]},
            {"photometric": "cfa"},
        ],
    )
    def test_previews_of_raw_files(self, tmp_path, tags):
        path = tmp_path / "a.tif"
        with tifffile.TiffWriter(path) as writer:
            writer.write(photo(8), **({"photometric": "minisblack"} | tags))
            writer.write(photo(16, 3), photometric="rgb")
        with pytest.raises(ValueError, match=r"X\[0\].*its first page, of 17 x 12 pixels.*develop it"):
            read(path)

    def test_previews_of_canon_cameras(self, tmp_path):
        """Which nothing but a mark between header and directory tells from a photo."""
        entries = [
            (256, 8),
            (257, 8),
            (258, 8),
            (259, 1),
            (262, 1),
            (273, 140),
            (277, 1),
            (278, 8),
            (279, 64),
        ]
        directory = struct.pack("<H", len(entries))
        directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
        for mark in (b"\2\0\0\0\0\0\0\0", b"CR\2\0\0\0\0\0"):
            content = struct.pack("<2sHI", b"II", 42, 16) + mark + directory + bytes(4)
            path = write(tmp_path / "a.cr2", content.ljust(140, b"\0") + bytes([51] * 64))
            if mark.startswith(b"CR"):
                with pytest.raises(ValueError, match="8 x 8 pixels, is a preview"):
                    read(path)
            else:
                assert_allclose(read(path), 0.2, atol=1e-7)

    def test_later_pages_may_be_reduced(self, tmp_path):
        path = tmp_path / "pyramid.tif"
        with tifffile.TiffWriter(path) as writer:
            writer.write(photo(16, 3), photometric="rgb")
            writer.write(photo(16, 3)[::2, ::2], photometric="rgb", subfiletype=1)
        assert_allclose(read(path), photo(16, 3) / 65535, atol=1e-6)

    @pytest.mark.parametrize("compression", ["zstd", "jpegxl", "jpeg2000", "deflate", "packbits"])
    def test_bytes_in_any_compression(self, tmp_path, compression):
        values = photo(8, 3)
        path = tmp_path / "a.tif"
        exact = {"jpegxl": {"lossless": True}, "jpeg2000": {"reversible": True, "level": 0}}.get(compression)
        tifffile.imwrite(path, values, photometric="rgb", compression=compression, compressionargs=exact)
        assert_array_equal(np.rint(255 * read(path)), values)

    def test_without_the_extra(self, tmp_path, without_formats):
        tifffile.imwrite(tmp_path / "a.tif", photo(10), bitspersample=10, photometric="minisblack")
        with pytest.raises(ValueError, match=r"X\[0\].*TIFF of 10 bits.*pip install 'skpadim\[formats\]'"):
            read(tmp_path / "a.tif")
        values = photo(16).astype(np.uint32) * 65537
        tifffile.imwrite(tmp_path / "b.tif", values, photometric="minisblack")
        assert_allclose(read(tmp_path / "b.tif", value_range=32), as_three(values / (2**32 - 1)), atol=1e-6)

    def test_too_many_pixels(self, tmp_path, monkeypatch):
        tifffile.imwrite(tmp_path / "a.tif", photo(16, 3), photometric="rgb")
        write(tmp_path / "a.png", png(photo(16, 3)))
        write(tmp_path / "a.pgm", b"P5 99999 99999 4095 ")
        np.save(tmp_path / "a.npy", photo(8))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
        for name in ("a.tif", "a.png", "a.pgm", "a.npy"):
            with (
                warnings.catch_warnings(action="ignore"),
                pytest.raises(ValueError, match="MAX_IMAGE"),
            ):
                read(tmp_path / name)

    @pytest.mark.parametrize("compression", [None, "zstd", "lzw"])
    def test_cut_off(self, tmp_path, compression):
        path = tmp_path / "a.tif"
        values = np.random.default_rng(0).integers(0, 65535, (64, 64, 3), dtype=np.uint16)
        tifffile.imwrite(path, values, photometric="rgb", compression=compression)
        write(path, path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match=r"X\[0\] .*a.tif.*cannot be read"):
            read(path)

"""Files whose stored values Pillow changes: each comes out as the share of full scale that was put in."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from deep_photos import SIZE, as_three, photo, png, png_chunk, read, write
from skpadim.images.collection import check_images

imagecodecs = pytest.importorskip("imagecodecs")

pydicom = pytest.importorskip("pydicom")

tifffile = pytest.importorskip("tifffile")


class TestOnePhotoOneScale:
    """A photo of 12 bits whose largest value is 3,800 has 3,800 / 4,095 of full scale in every file."""

    values = photo(12)

    def files(self, folder):
        values = self.values
        tifffile.imwrite(folder / "packed.tif", values, bitspersample=12, photometric="minisblack")
        tag = (281, "H", 1, 4095, True)
        tifffile.imwrite(folder / "max.tif", values, photometric="minisblack", extratags=[tag])
        tifffile.imwrite(
            folder / "white.tif", 4095 - values, photometric="miniswhite", extratags=[tag], metadata=None
        )
        write(folder / "as_it_is.png", png(values, significant=12))
        write(folder / "shifted.png", png(values << 4, significant=12))
        write(folder / "repeated.png", png(values << 4 | values >> 8, significant=12))
        header = f"P5\n# a comment 1\n{SIZE[1]} {SIZE[0]}\n4095\n".encode()
        write(folder / "a.pgm", header + values.astype(">u2").tobytes())
        for codec in ("jp2", "j2k"):
            options = {"bitspersample": 12, "reversible": True, "level": 0, "codecformat": codec}
            write(folder / f"a.{codec}", imagecodecs.jpeg2k_encode(values, **options))
        return sorted(folder.iterdir())

    @pytest.mark.parametrize("installed", [True, False])
    def test_files_that_state_their_depth(self, tmp_path, installed, request):
        if not installed:
            request.getfixturevalue("without_formats")
        files = self.files(tmp_path)
        assert len(files) == 9
        for path in files:
            # Bits that repeat the high ones scale by 65535 / 4095 to the last of 16 bits.
            assert_allclose(read(path), as_three(self.values / 4095), atol=2e-5, err_msg=path.name)

    def test_what_is_passed_wins_over_the_file(self, tmp_path):
        self.files(tmp_path)
        for name in ("packed.tif", "max.tif", "as_it_is.png", "a.pgm", "a.jp2"):
            path = tmp_path / name
            assert_allclose(read(path, value_range="dtype"), as_three(self.values / 65535), atol=1e-6)
            assert_allclose(read(path, value_range=14), as_three(self.values / 16383), atol=1e-6)
            expected = as_three(np.clip((self.values - 500.0) / 2000, 0, 1))
            assert_allclose(read(path, value_range=(500, 2500)), expected, atol=1e-6)

    @pytest.mark.parametrize("bits", [10, 12, 14])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_packed_tiffs(self, tmp_path, bits, channels):
        values = photo(bits, channels)
        kind = "rgb" if channels == 3 else "minisblack"
        tifffile.imwrite(tmp_path / "a.tif", values, bitspersample=bits, photometric=kind)
        assert_allclose(read(tmp_path / "a.tif"), as_three(values / (2**bits - 1)), atol=1e-6)

    def test_a_dark_photo_is_on_the_same_scale(self, tmp_path):
        """Which of the two ways a PNG was written does not depend on how bright it is."""
        dark = self.values >> 4  # at most 237 of 4,095
        for name, stored in {"as_it_is": dark, "shifted": dark << 4}.items():
            path = write(tmp_path / f"{name}.png", png(stored, significant=12))
            assert_allclose(read(path), as_three(dark / 4095), atol=2e-5, err_msg=name)

    def test_largest_value_used_is_no_scale(self, tmp_path):
        """MaxSampleValue is a statistic, but for the largest value of a depth."""
        values = photo(16)
        for largest, full in [(3800, 65535), (60800, 65535), (65535, 65535), (127, 65535), (16383, 16383)]:
            stored = values // (65536 // (full + 1))
            tag = (281, "H", 1, largest, True)
            tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", extratags=[tag])
            assert_allclose(read(tmp_path / "a.tif"), as_three(stored / full), atol=1e-6)

    def test_a_file_that_contradicts_itself(self, tmp_path):
        tag = (281, "H", 1, 1023, True)
        tifffile.imwrite(tmp_path / "a.tif", self.values, photometric="minisblack", extratags=[tag])
        with pytest.raises(ValueError, match=r"X\[0\] .*a.tif'\) holds integers from 0 to 3800.*0..1023"):
            read(tmp_path / "a.tif")
        assert read(tmp_path / "a.tif", value_range=12).max() == np.float32(3800 / 4095)

    @pytest.mark.parametrize("depth", [15, 100, 4095, 65535])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_netpbm(self, tmp_path, depth, channels):
        shape = SIZE if channels == 1 else (*SIZE, channels)
        values = np.random.default_rng(0).integers(0, depth, shape, endpoint=True)
        header = f"P{5 if channels == 1 else 6} {SIZE[1]} {SIZE[0]} {depth}\n".encode()
        path = write(tmp_path / "a.ppm", header + values.astype(">u2" if depth > 255 else "u1").tobytes())
        assert_allclose(read(path), as_three(values / depth), atol=1e-7)
        write(path, path.read_bytes()[:-1])
        with pytest.raises(ValueError, match=r"a.ppm.*cut off"):
            read(path)


class TestSixteenBitColour:
    values = photo(16, 3)

    def files(self, folder):
        write(folder / "colour.png", png(self.values))
        tifffile.imwrite(folder / "colour.tif", self.values, photometric="rgb")
        tifffile.imwrite(
            folder / "planes.tif", np.moveaxis(self.values, 2, 0), photometric="rgb", planarconfig="separate"
        )
        tifffile.imwrite(
            folder / "lzw.tif", self.values, photometric="rgb", compression="lzw", predictor=True
        )
        tifffile.imwrite(folder / "big.tif", self.values, photometric="rgb", bigtiff=True, byteorder="<")
        tifffile.imwrite(folder / "end.tif", self.values, photometric="rgb", bigtiff=True, byteorder=">")
        tifffile.imwrite(folder / "tiles.tif", self.values, photometric="rgb", tile=(16, 16))
        content = imagecodecs.jpeg2k_encode(self.values, reversible=True, level=0, codecformat="jp2")
        write(folder / "colour.jp2", content)
        return sorted(folder.iterdir())

    def test_all_bits_are_kept(self, tmp_path):
        with warnings.catch_warnings(action="error"):
            for path in self.files(tmp_path):
                assert_allclose(read(path), self.values / 65535, atol=1e-6, err_msg=path.name)

    def test_without_the_extra_a_warning_says_what_is_lost(self, tmp_path, without_formats):
        warned = 0
        for path in self.files(tmp_path):
            images = check_images([path, path])
            if path.name in ("end.tif", "planes.tif"):
                with pytest.raises(ValueError, match=r"pip install 'skpadim\[formats\]'"):
                    list(images.batches(1, SIZE, None, n_threads=2))
                continue
            with pytest.warns(UserWarning, match=rf"{path.name}.*high.*pip install 'skpadim\[form") as caught:
                for batch in images.batches(1, SIZE, None, n_threads=2):
                    shares = batch.pixels[0].movedim(0, -1) / 255
                    assert_allclose(shares, self.values / 65535, atol=1.5 / 255)
            assert len(caught) == 1
            warned += 1
        assert warned == 6

    @pytest.mark.parametrize("channels", [2, 4])
    def test_transparency_over_white(self, tmp_path, channels):
        values = photo(16, channels)
        values[0, ..., -1], values[1, ..., -1] = 0, 65535
        colours, alpha = as_three(values[..., :-1].squeeze() / 65535), values[..., -1:] / 65535
        expected = colours * alpha + 1 - alpha
        path = write(tmp_path / "a.png", png(values))
        assert_allclose(read(path), expected, atol=1e-6)
        kind = "rgb" if channels == 4 else "minisblack"
        tif = tmp_path / "a.tif"
        tifffile.imwrite(tif, values, photometric=kind, extrasamples=["unassalpha"], planarconfig="contig")
        assert_allclose(read(tif), expected, atol=1e-6)
        values[..., :-1] = values[..., :-1] * alpha
        tifffile.imwrite(tif, values, photometric=kind, extrasamples=["assocalpha"], planarconfig="contig")
        assert_allclose(read(tif), expected, atol=3e-5)

    def test_a_transparent_colour(self, tmp_path):
        colour = tuple(self.values[3, 4].tolist())
        expected = self.values / 65535
        expected[(self.values == self.values[3, 4]).all(-1)] = 1
        assert_allclose(
            read(write(tmp_path / "a.png", png(self.values, transparent=colour))), expected, atol=1e-6
        )

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, tmp_path, orientation):
        """Turned as Pillow turns the same photo of 8 bits."""
        high = (self.values >> 8).astype(np.uint8)
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(high).save(tmp_path / "high.png", exif=exif)
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(tmp_path / "a.tif", self.values, photometric="rgb", extratags=[tag])
        assert_allclose(read(tmp_path / "a.tif"), read(tmp_path / "high.png"), atol=1 / 255)
        content = png(self.values)
        block = png_chunk(b"eXIf", exif.tobytes()[6:])
        write(tmp_path / "a.png", content[:33] + block + content[33:])
        assert_allclose(read(tmp_path / "a.png"), read(tmp_path / "high.png"), atol=1 / 255)

    def test_inks(self, tmp_path):
        inks = photo(16, 4)
        tifffile.imwrite(tmp_path / "a.tif", inks, photometric="separated")
        shares = 1 - inks / 65535
        assert_allclose(read(tmp_path / "a.tif"), shares[..., :3] * shares[..., 3:], atol=1e-5)


class TestArraysInFiles:
    @pytest.mark.parametrize("shape", [SIZE, (*SIZE, 1), (*SIZE, 3)])
    @pytest.mark.parametrize("dtype", ["u1", "u2", "f4", ">u2"])
    def test_npy(self, tmp_path, shape, dtype):
        shares = np.random.default_rng(0).random(shape)
        full = 1 if dtype == "f4" else np.iinfo(dtype).max
        values = (shares * full).astype(dtype)
        np.save(tmp_path / "a.npy", values)
        expected = values.astype("f8") / full
        assert_allclose(read(tmp_path / "a.npy"), np.broadcast_to(as_three(expected), (*SIZE, 3)), atol=1e-6)

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            (np.zeros((2, *SIZE, 3)), "must have 2 or 3 axes"),
            (np.zeros((3, 20, 30)), "channels come last"),
            (np.zeros(SIZE, complex), "Complex"),
            (np.zeros(SIZE, bool), "dtype bool"),
            (np.zeros(SIZE, np.int16), "holds int16.*value_range"),
            (np.array([None, "a"]), "pickle"),
        ],
    )
    def test_no_photos(self, tmp_path, values, words):
        np.save(tmp_path / "a.npy", values, allow_pickle=True)
        with pytest.raises(ValueError, match=rf"X\[0\] .*a.npy.*{words}"):
            read(tmp_path / "a.npy")

    def test_cut_off(self, tmp_path):
        np.save(tmp_path / "a.npy", photo(16))
        write(tmp_path / "a.npy", (tmp_path / "a.npy").read_bytes()[:-3])
        with pytest.raises(ValueError, match=r"X\[0\] .*a.npy.*cannot be read"):
            read(tmp_path / "a.npy")


class TestOpacityThatNobodySet:
    """Alpha that is 0 everywhere is none: the photo would be white, like all others of its camera."""

    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    @pytest.mark.parametrize("as_object", [False, True])
    def test_bytes(self, tmp_path, mode, as_object):
        values = np.random.default_rng(0).integers(0, 256, (*SIZE, len(mode)), dtype=np.uint8)
        values[..., -1] = 0
        image = Image.fromarray(values)
        image.save(tmp_path / "a.png")
        result = read(image if as_object else tmp_path / "a.png")
        assert_array_equal(np.rint(255 * result), as_three(values[..., :-1].squeeze()))

    def test_bitmaps_of_thirty_two_bits(self, tmp_path):
        """Blue, green, red and a byte that the masks of the header call opacity."""
        values = np.random.default_rng(0).integers(0, 256, (*SIZE, 4), dtype=np.uint8)
        values[..., 3] = 0
        masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        info = struct.pack("<IiiHHIIiiII", 108, SIZE[1], -SIZE[0], 1, 32, 3, 0, 0, 0, 0, 0)
        info += masks + bytes(52)
        data = values[..., [2, 1, 0, 3]].tobytes()
        path = write(
            tmp_path / "a.bmp", struct.pack("<2sIII", b"BM", 14 + 108 + len(data), 0, 122) + info + data
        )
        with Image.open(path) as image:
            assert image.mode == "RGBA"
        assert_array_equal(np.rint(255 * read(path)), values[..., :3])

    def test_sixteen_bits(self, tmp_path):
        values = photo(16, 4)
        values[..., 3] = 0
        assert_allclose(read(write(tmp_path / "a.png", png(values))), values[..., :3] / 65535, atol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_files_are_named(tmp_path, seed):
    """Whatever byte is changed, there is a photo or one ValueError, and no other error."""
    generator = np.random.default_rng(seed)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, photo(16, 3), photometric="rgb", compression="lzw")
    contents = [
        buffer.getvalue(),
        png(photo(16, 3), significant=12),
        imagecodecs.jpeg2k_encode(photo(12), bitspersample=12, reversible=True, level=0),
        b"P5 17 12 4095\n" + photo(12).astype(">u2").tobytes(),
    ]
    for content in contents:
        damaged = bytearray(content)
        for at in generator.integers(0, min(len(damaged), 200), 3):
            damaged[at] = generator.integers(0, 256)
        path = write(tmp_path / "a", bytes(damaged))
        with warnings.catch_warnings(action="ignore"):
            images = check_images([path], on_error="skip")
            n_read = sum(len(batch) for batch in images.batches(1, (8, 8), None, n_threads=1))
        assert n_read + len(images.failures) == 1
        assert all(message.startswith(f"X[0] ({str(path)!r})") for message in images.failures.values())

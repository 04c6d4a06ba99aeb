"""Files and image objects, whole and broken: what they come out as."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from reading import (
    SIZE,
    as_three,
    draw,
    no_stray_threads,
    over_white,
    pixels,
    read,
    save,
    scaled,
    smooth,
    unit_pixels,
)
from skpadim.images.decoding import decode, upright_size


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

    def test_a_closed_image_object(self, files):
        image = Image.open(files[0])
        image.close()
        with pytest.raises(ValueError, match=r"X\[1\] cannot be read as an image"):
            read([draw(*SIZE), image])

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


class TestUprightSize:
    """Height and width of a photo as it is decoded, before it is."""

    @pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "bmp", "gif", "ppm", "jp2"])
    def test_headers_tell_without_decoding(self, tmp_path, monkeypatch, kind):
        path = tmp_path / f"a.{kind}"
        Image.fromarray(draw(9, 14, 3)).save(path)

        def refuse(*args, **kwargs):
            raise AssertionError("no pixel is wanted")

        monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
        assert upright_size(path, "X[0]") == (9, 14)

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "late.png"])
    def test_turned_photos(self, tmp_path, kind, orientation):
        exif = Image.Exif()
        exif[274] = orientation
        path = tmp_path / f"a.{kind}"
        Image.fromarray(draw(9, 14, 3)).save(path, exif=exif)
        if kind == "late.png":
            content = path.read_bytes()
            start = content.index(b"eXIf") - 4
            end = start + 12 + int.from_bytes(content[start : start + 4])
            words, last = content[start:end], content.index(b"IEND") - 4
            path.write_bytes(content[:start] + content[end:last] + words + content[last:])
        expected = (14, 9) if orientation > 4 else (9, 14)
        assert decode(path, "X[0]").values.shape[:2] == expected
        assert upright_size(path, "X[0]") == expected
        with Image.open(path) as image:
            assert upright_size(image, "X[0]") == expected

    def test_what_pillow_does_not_know_is_decoded(self, tmp_path):
        np.save(tmp_path / "a.npy", draw(9, 14, 3))
        assert upright_size(tmp_path / "a.npy", "X[0]") == (9, 14)

    @pytest.mark.parametrize(("content", "words"), [(b"no photo", "no format"), (None, "no such file")])
    def test_what_cannot_be_read_is_named(self, tmp_path, content, words):
        path = tmp_path / "a.png"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^X\[5\] cannot be read as an image: .*{words}"):
            upright_size(path, "X[5]")

    def test_photos_of_too_many_pixels_are_refused(self, tmp_path, monkeypatch):
        Image.fromarray(draw(9, 14, 3)).save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(ValueError, match="MAX_IMAGE_PIXELS"):
            upright_size(tmp_path / "a.png", "X[0]")

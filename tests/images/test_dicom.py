"""DICOM files: full scale, rescaling and inversion."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from deep_photos import as_three, photo, read

imagecodecs = pytest.importorskip("imagecodecs")

pydicom = pytest.importorskip("pydicom")

tifffile = pytest.importorskip("tifffile")


class TestDicom:
    def write(self, path, values, *, kind="MONOCHROME2", bits=12, **elements):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.Rows, dataset.Columns = values.shape[-3:-1] if kind == "RGB" else values.shape[-2:]
        dataset.SamplesPerPixel = 3 if kind == "RGB" else 1
        dataset.PhotometricInterpretation = kind
        if kind == "RGB":
            dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = values.dtype.itemsize * 8
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
        dataset.PixelRepresentation = int(values.dtype.kind == "i")
        dataset.PixelData = values.tobytes()
        for name, value in elements.items():
            setattr(dataset, name, value)
        dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
        dataset.save_as(path, enforce_file_format=True)
        return path

    def test_bits_stored_are_full_scale(self, tmp_path):
        values = photo(12)
        path = self.write(tmp_path / "a.dcm", values)
        assert_allclose(read(path), as_three(values / 4095), atol=1e-6)

    def test_inverted(self, tmp_path):
        values = photo(12)
        path = self.write(tmp_path / "a.dcm", values, kind="MONOCHROME1")
        assert_allclose(read(path), as_three(1 - values / 4095), atol=1e-6)
        result = read(path, value_range=(1000, 3000))
        assert_allclose(result, as_three(1 - np.clip((values - 1000.0) / 2000, 0, 1)), atol=1e-6)

    def test_rescaled_and_signed(self, tmp_path):
        values = photo(12).astype(np.int16) - 2048
        path = self.write(tmp_path / "a.dcm", values, RescaleSlope=0.5, RescaleIntercept=-100)
        assert_allclose(read(path), as_three((values + 2048) / 4095), atol=1e-6)
        expected = np.clip((values * 0.5 - 100 + 500) / 800, 0, 1)
        assert_allclose(read(path, value_range=(-500, 300)), as_three(expected), atol=1e-6)

    def test_colour(self, tmp_path):
        values = photo(8, 3)
        assert_allclose(read(self.write(tmp_path / "a", values, kind="RGB", bits=8)), values / 255, atol=1e-6)

    def test_first_frame(self, tmp_path):
        values = np.stack([photo(12, seed=0), photo(12, seed=1)])
        path = self.write(tmp_path / "a.dcm", values, NumberOfFrames=2)
        assert_allclose(read(path), as_three(values[0] / 4095), atol=1e-6)

    def test_without_the_extra(self, tmp_path, without_formats):
        path = self.write(tmp_path / "a.dcm", photo(12))
        with pytest.raises(ValueError, match=r"X\[0\].*it is a DICOM file.*pip install 'skpadim\[formats\]'"):
            read(path)

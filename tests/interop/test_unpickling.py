"""Foreign pickles: what is read of them, and that nothing in them runs."""

from __future__ import annotations

import collections
import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn

from skpadim.interop.unpickling import StandIn, child, module_tensors, read_arrays, read_torch_file


class Ran(Exception):  # noqa: N818
    """Raised by what must not run."""


def run():
    raise Ran


class Malicious:
    def __reduce__(self):
        return run, ()


def written(folder, content, protocol=4):
    path = folder / "file.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_are_read(tmp_path, protocol):
    arrays = [np.arange(6.0).reshape(2, 3), np.ones((2, 2, 3), dtype=np.float32)[:, ::-1]]
    found = read_arrays(written(tmp_path, arrays, protocol))
    assert_array_equal(found[0], arrays[0])
    assert_array_equal(found[1], arrays[1])


def test_arrays_of_numpy_1_are_read(tmp_path):
    path = written(tmp_path, [np.arange(3)], protocol=3)
    content = path.read_bytes()
    older = content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    path.write_bytes(older)
    assert_array_equal(read_arrays(path)[0], np.arange(3))


@pytest.mark.parametrize(
    "content", [Malicious(), [Malicious()], np.array([Malicious()], dtype=object), np.float64, len]
)
def test_all_but_arrays_is_refused_before_it_runs(tmp_path, content):
    with pytest.raises(ValueError, match="only NumPy arrays are read"):
        read_arrays(written(tmp_path, content))


def test_what_is_no_pickle_says_so(tmp_path):
    path = written(tmp_path, [np.arange(100)])
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="damaged"):
        read_arrays(path)


@pytest.mark.moves_global_generator
def test_a_saved_module_is_read_without_its_classes(tmp_path):
    torch.save(
        {"model": nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4).half()), "names": ["a", "b"]},
        tmp_path / "model.pt",
    )
    found = read_torch_file(tmp_path / "model.pt")
    assert found["names"] == ["a", "b"]
    assert isinstance(found["model"], StandIn)
    assert type(child(found["model"], "1")).__name__ == "BatchNorm2d"
    expected = torch.load(tmp_path / "model.pt", weights_only=False)["model"].state_dict()
    tensors = dict(module_tensors(found["model"]))
    assert list(tensors) == list(expected)
    for name, value in expected.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)


def test_views_are_read(tmp_path):
    whole = torch.arange(12).reshape(3, 4)
    content = collections.OrderedDict(whole=whole, part=whole[1:, ::2], empty=torch.empty(0))
    torch.save(content, tmp_path / "state.pt")
    found = read_torch_file(tmp_path / "state.pt")
    for name, value in content.items():
        assert torch.equal(found[name], value)


def test_nothing_runs_of_a_torch_file(tmp_path):
    torch.save({"model": Malicious(), "kept": torch.ones(2)}, tmp_path / "model.pt")
    with pytest.raises(Ran):
        torch.load(tmp_path / "model.pt", weights_only=False)
    found = read_torch_file(tmp_path / "model.pt")
    assert isinstance(found["model"], StandIn)
    assert torch.equal(found["kept"], torch.ones(2))


def test_other_files_say_so(tmp_path):
    path = tmp_path / "state.pt"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"before torch 1\.6"):
        read_torch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "text/plain")
    with pytest.raises(ValueError, match=r"cannot be read as a file of torch\.save"):
        read_torch_file(path)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    path = tmp_path / "state.pt"
    torch.save({"a": torch.ones(8)}, path)
    changed = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(changed, "w") as shorter:
        for name in archive.namelist():
            content = archive.read(name)
            shorter.writestr(name, content[:-4] if "/data/" in name else content)
    path.write_bytes(changed.getvalue())
    with pytest.raises(ValueError, match="damaged"):
        read_torch_file(path)


@pytest.mark.parametrize("read", [read_arrays, read_torch_file])
def test_absent_files_and_folders_are_told_alike(tmp_path, read):
    with pytest.raises(ValueError, match=r"none\.pkl' cannot be read: there is no such file"):
        read(tmp_path / "none.pkl")
    with pytest.raises(ValueError, match="it is a folder"):
        read(tmp_path)

"""What is carried, as plain arrays and in files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from growing import PARAMS, assert_same, grown
from skpadim.growth.files import of_texts, pack, texts_of, unpack
from skpadim.growth.growth import Growth
from skpadim.model_file import load_model, save_model
from small import small


def test_files_go_on_growing(days, one_fit, photos, tmp_path):
    path = tmp_path / "growth.npz"
    detector = grown(days[:3])
    detector.save_growth(path)
    save_model(detector, tmp_path / "line.skpadim")
    for again in (small(**PARAMS), load_model(tmp_path / "line.skpadim").detector):
        again.load_growth(path)
        for day in days[3:]:
            again.partial_fit(day)
        assert_same(again, one_fit, photos)
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_other_files_are_refused(days, tmp_path):
    path = tmp_path / "growth.npz"
    grown(days[2:3]).save_growth(path)
    for params, name in [
        ({"image_size": 32}, "image_size"),
        ({"random_state": 1}, "random_state"),
        ({"n_channels": 7}, "n_channels"),
        ({"backbone": "resnet34"}, "backbone and weights"),
        ({"epsilon": 1.0}, "epsilon"),
    ]:
        other = small(**(PARAMS | params))
        before = dict(vars(other))
        with pytest.raises(ValueError, match=f"the file has another {name}"):
            other.load_growth(path)
        assert vars(other) == before
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut off, damaged"):
        small(**PARAMS).load_growth(path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ValueError, match="holds something else"):
        small(**PARAMS).load_growth(tmp_path / "array.npy")
    with pytest.raises(ValueError, match="no such file"):
        small(**PARAMS).load_growth(tmp_path / "absent.npz")
    np.savez(path, format=99)
    with pytest.raises(ValueError, match="format 99"):
        small(**PARAMS).load_growth(path)
    with pytest.raises(ValueError, match="nothing to save"):
        small().save_growth(path)


def test_packed_growth_is_plain_and_all_there_is(photos):
    X = [*photos.X_train[:9], "X[9] is no file of this name.png"]
    with pytest.warns(UserWarning, match="1 of 10 images"):
        detector = grown([X], on_error="skip").forget(photos.X_train[[2]])
    growth = detector._growing.growth
    arrays = pack(growth)
    assert all(array.dtype.kind in "uif" for array in arrays.values())
    again = unpack(arrays)
    assert_same_arrays(pack(again), arrays)
    assert again.skipped == growth.skipped
    assert again.identity == growth.identity
    assert again.photos == growth.photos


def test_unpacked_growth_shares_nothing(photos):
    arrays = pack(grown([photos.X_train[:9]])._growing.growth)
    before = {name: array.copy() for name, array in arrays.items()}
    one = unpack(arrays)
    one.absorb(unpack(arrays))
    assert_same_arrays(arrays, before)


def test_nothing_learned_is_packed_too():
    growth = Growth(n_calibration=5, seed=3, identity={"epsilon": "1"})
    again = unpack(pack(growth))
    assert (again.n_calibration, again.seed, again.patches, len(again.photos)) == (5, 3, None, 0)


@given(st.lists(st.text(st.characters(exclude_characters="\0"))))
def test_texts_come_back(texts):
    assert texts_of(of_texts(texts)) == texts


def assert_same_arrays(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert_array_equal(array, other[name], strict=True)

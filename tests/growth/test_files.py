"""What is carried, as plain arrays and in files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from growing import PARAMS, assert_same, grown
from skpadim import FeaturePyramid, PatchGaussian
from skpadim.growth.files import load_growth, of_texts, pack, texts_of, unpack
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


NAN, ONE = np.float64("nan"), np.array(1)
DAMAGES = {
    "lacks 'contents'": {"contents": None},
    "lacks 'sample_keys'": {"sample_keys": None},
    "lacks 'own_1'": {"own_1": None},
    "holds something else": {"format": None},
    "'n_images' of -5": {"n_images": np.array(-5)},
    "features of 9 images, and digests of 12": {"n_images": np.array(9)},
    "'n_images' of float64": {"n_images": np.array(12.0)},
    "'seed' of <U3": {"seed": np.array("abc")},
    "'mean_0' of float32": {"mean_0": lambda mean: mean.astype(np.float32)},
    "'cross_1' of float64 and shape": {"cross_1": lambda cross: cross[:, :1]},
    "NaN or infinite": {"mean_0": lambda mean: mean * NAN},
    "infinite": {"sample_rows_0": lambda rows: rows * np.inf},
    "'sample_rows_1' of": {"sample_rows_1": lambda rows: rows[1:]},
    "'sample_places' of": {"sample_places": lambda places: places[1:]},
    "a sample of photos that are not": {"sample_places": lambda places: places + 100},
    "sample of size, seed and spare": {"sample_size": lambda size: size + 1},
    "of the shapes": {"shapes": lambda shapes: shapes * 10**9},
    "shapes \\[\\]": {"shapes": lambda shapes: shapes[:0]},
    "of the dtypes": {"dtypes": lambda _: of_texts(["save", "load"])},
    "2 texts in 'paths'": {"paths": lambda _: of_texts(["a", "b"])},
    "in no order": {"places": lambda places: places[::-1]},
    "of no call": {"n_given": ONE},
    "by what parameters": {"identity": lambda _: of_texts(["{"])},
    "1 texts in 'skipped_reasons'": {"skipped_reasons": lambda _: of_texts(["bad"])},
}


@pytest.fixture(scope="module")
def gaussian_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("growth") / "gaussian.npz"
    draw = np.random.default_rng(0).standard_normal
    pyramid = FeaturePyramid([draw((12, 3, 4, 4)), draw((12, 2, 2, 2))])
    PatchGaussian(n_calibration=5).partial_fit(pyramid).save_growth(path)
    return path


@pytest.mark.parametrize("reason", DAMAGES)
def test_files_whose_parts_do_not_go_together_are_refused(reason, gaussian_file, tmp_path):
    with np.load(gaussian_file) as opened:
        arrays = dict(opened)
    for name, change in DAMAGES[reason].items():
        arrays[name] = change(arrays[name]) if callable(change) else change
    path = tmp_path / "damaged.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    gaussian = PatchGaussian(n_calibration=5).load_growth(gaussian_file)
    before = dict(vars(gaussian))
    with pytest.raises(ValueError, match=rf"damaged.npz' .*{reason}.*save_growth wrote"):
        gaussian.load_growth(path)
    assert vars(gaussian) == before


def test_flipped_bytes_are_never_a_raw_error(gaussian_file, tmp_path):
    content, path = gaussian_file.read_bytes(), tmp_path / "flipped.npz"
    generator = np.random.default_rng(0)
    for at in generator.integers(0, len(content), 200):
        path.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
        try:
            load_growth(path)
        except ValueError as error:
            assert "flipped.npz" in str(error)


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
@example(["\udd00", "caf\udce9.png", "\U0001f600"])
def test_texts_come_back(texts):
    assert texts_of(of_texts(texts)) == texts


def test_texts_that_earlier_versions_wrote_come_back():
    assert texts_of(np.frombuffer(b"caf\xe9.png\0b.png\0", dtype=np.uint8)) == ["caf\udce9.png", "b.png"]


def assert_same_arrays(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert_array_equal(array, other[name], strict=True)

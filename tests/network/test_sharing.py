"""Networks that several estimators share: which do, what they save by it, and that they are freed."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skpadim import CNNFeatureTransformer
from skpadim.network.sharing import at_work_once

PHOTOS = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)


def fitted(layers=("features.2",), **params):
    defaults = {"weights": None, "image_size": 48, "device": "cpu"}
    return CNNFeatureTransformer("squeezenet1_1", layers=layers, **(defaults | params)).fit(PHOTOS)


def dumped(objects):
    file = io.BytesIO()
    joblib.dump(objects, file)
    return file.getvalue()


class Anything:
    """What can be referred to weakly."""


def test_one_is_built_while_somebody_keeps_it():
    first = at_work_once("a", {}, Anything)
    assert at_work_once("a", {}, Anything) is first
    assert at_work_once("b", {}, Anything) is not first
    gone = weakref.ref(first)
    del first
    assert gone() is None


def test_equal_networks_are_one_at_work():
    first, second = fitted(), fitted(image_size=32)
    assert first._extractor is second._extractor
    assert first.trunk_arrays_ is second.trunk_arrays_


@pytest.mark.parametrize(
    "params",
    [
        {"random_state": 1},
        {"layers": ("features.3",)},
        {"normalisation": "inception"},
        {"precision": "bfloat16"},
    ],
    ids=str,
)
def test_others_are_not(params):
    first, second = fitted(), fitted(**params)
    assert first._extractor is not second._extractor


def test_a_file_of_several_holds_one_network_and_so_does_whoever_loads_it():
    first, second = fitted(), fitted(batch_size=7)
    expected = second.transform(PHOTOS).levels
    n_weights = sum(array.nbytes for array in first.trunk_arrays_.values())
    both, alone = dumped({"left": first, "right": second}), dumped(first)
    assert len(both) - len(alone) < n_weights / 2
    del first, second
    gc.collect()
    left, right = joblib.load(io.BytesIO(both)).values()
    assert left.trunk_arrays_ is right.trunk_arrays_
    assert_array_equal(right.transform(PHOTOS).levels[0], expected[0])
    left.transform(PHOTOS)
    assert left._extractor is right._extractor


def test_files_of_their_own_become_one_network_at_work():
    left, right = (pickle.loads(pickle.dumps(each)) for each in (fitted(), fitted()))
    assert left.trunk_arrays_ is not right.trunk_arrays_
    for each in (left, right):
        each.transform(PHOTOS)
    assert left._extractor is right._extractor
    assert left.trunk_arrays_ is right.trunk_arrays_


def test_weights_that_were_changed_are_others():
    kept = fitted()
    changed = copy.deepcopy(kept)
    changed.trunk_arrays_ = {name: 2 * array for name, array in kept.trunk_arrays_.items()}
    expected, found = (each.transform(PHOTOS).levels[0] for each in (kept, changed))
    assert not np.allclose(found, expected)

"""Parts merged in pairs of pairs: the order of arrival decides nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skpadim.growth.files import pack
from skpadim.growth.growth import Growth
from skpadim.growth.parts import Learned, Tree
from skpadim.images.notes import Notes
from skpadim.stream import FeatureBatch

N_CALIBRATION = 4


def learned(number, features):
    """Return what is learned of three photos that have these features."""
    growth = Growth(N_CALIBRATION, seed=0)
    contents = [bytes([number, photo]) + bytes(6) for photo in range(3)]
    levels = [torch.from_numpy(features)[:, :, None, None]]
    growth.add(FeatureBatch(range(3), levels, [(8, 8)] * 3, np.zeros((3, 9)), contents, []), [""] * 3)
    growth.end(3, {})
    return Learned(growth, Notes(failures={1: f"part {number}"}))


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(0).normal(size=(5, 3, 2)) + 1e3


def joined(order, features):
    tree = Tree()
    for number in order:
        tree.add(number, learned(number, features[number]))
    return tree.join()


def test_bits_do_not_depend_on_the_order(features):
    expected = joined(range(5), features)
    for order in itertools.permutations(range(5)):
        found = joined(order, features)
        for name, array in pack(expected.growth).items():
            assert_array_equal(pack(found.growth)[name], array)
        assert found.notes.failures == expected.notes.failures


def test_moments_are_those_of_all(features):
    moments = joined([3, 0, 4, 2, 1], features).growth.patches.moments
    photos = features.reshape(15, 2)
    assert_allclose(moments.means[0].numpy().ravel(), photos.mean(axis=0), rtol=1e-12)
    products = np.cov(photos.T) * 14
    assert_allclose(np.tril(moments.comoments[0].own.numpy()[0]), np.tril(products), rtol=1e-9)


def test_photos_are_numbered_through(features):
    found = joined([4, 1, 0, 3, 2], features)
    assert list(found.growth.photos.places) == list(range(15))
    assert found.notes.failures == {3 * number + 1: f"part {number}" for number in range(5)}


def test_what_comes_after_a_gap_is_left_out(features):
    assert joined([0, 1, 3, 4], features).growth.n_images == 6
    assert joined([1, 2], features) is None
    assert Tree().join() is None


def test_a_look_changes_nothing(features):
    tree = Tree()
    for number in (0, 1, 2):
        tree.add(number, learned(number, features[number]))
    assert tree.join(keep=True).growth.n_images == 9
    for number in (3, 4):
        tree.add(number, learned(number, features[number]))
    found = pack(tree.join().growth)
    for name, array in pack(joined(range(5), features).growth).items():
        assert_array_equal(found[name], array)


def test_features_that_others_make_needless_are_not_kept(features):
    tree = Tree()
    tree.add(0, learned(0, features[0]))
    assert tree.last_key is None
    tree.add(1, learned(1, features[1]))
    part = learned(2, features[2])
    part.growth.patches.sample.leave_out_beyond(tree.last_key)
    before = len(learned(2, features[2]).growth.patches.sample)
    assert len(part.growth.patches.sample) <= before
    tree.add(2, part)
    whole = joined(range(3), features)
    assert tree.join().growth.patches.sample.places() == whole.growth.patches.sample.places()

"""What a fitted transformer knows of where photos lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skpadim import CNNFeatureTransformer


def blank(n_photos, height, width):
    return np.full((n_photos, height, width, 3), 128, np.uint8)


def fitted(X, **params):
    return CNNFeatureTransformer("resnet18", weights=None, layers=["layer2"], image_size=64, **params).fit(X)


def test_places_that_most_photos_leave_to_padding_count_for_nothing():
    features = fitted(blank(10, 32, 64), resize="pad")
    expected = np.ones((64, 64), bool)
    expected[16:48] = False
    assert_array_equal(features.ignored_, expected)
    assert features.painted_ is None, "padding has its colour already"


def test_sizes_may_be_learned_later():
    features = fitted(blank(10, 64, 64), resize="pad")
    assert features.ignored_ is None
    features.take_sizes([(32, 64)] * 10)
    assert features.ignored_[:16].all() and not features.ignored_[16:48].any()


def test_one_colour_stands_where_nothing_counts():
    mask = np.zeros((64, 64), bool)
    mask[:8] = True
    features = fitted(blank(3, 64, 64), ignore=mask)
    (batch,) = features.batches(blank(1, 64, 64))
    colour = torch.tensor(features.normalisation_[0]).mul(255).round()[:, None, None]
    assert torch.equal(batch.pixels[0, :, :8].float(), colour.expand(3, 8, 64))
    assert (batch.pixels[0, :, 8:] == 128).all()


@pytest.mark.usefixtures("warned_each_time")
def test_masks_of_which_nobody_may_write_do(recwarn):
    """As those of files that are mapped into memory."""
    features = fitted(blank(3, 64, 64), ignore=np.eye(64, dtype=bool))
    expected = features.transform(blank(1, 64, 64)).levels[0]
    features.painted_.flags.writeable = False
    assert_array_equal(features.transform(blank(1, 64, 64)).levels[0], expected)
    assert not recwarn.list


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_photos_of_which_nothing_is_left(on_error):
    mask = np.zeros((64, 64), bool)
    mask[:, 24:40] = True
    features = fitted(blank(3, 64, 64), resize="pad", ignore=mask)
    # The network sees 64 x 8 of the second, all of which is ignored.
    images = features.images([*blank(1, 64, 64), *blank(1, 64, 8)], on_error=on_error)
    if on_error == "raise":
        with pytest.raises(ValueError, match=r"X\[1\] is of 64 x 8 pixels, .* no patch is left to judge"):
            list(features.stream(images))
    else:
        (batch,) = features.stream(images)
        assert list(batch.indices) == [0] and list(images.failures) == [1]


def test_earlier_versions_painted_all_that_they_ignored():
    features = fitted(blank(3, 64, 64), ignore=np.eye(64, dtype=bool))
    state = features.__getstate__()
    del state["painted_"]
    older = CNNFeatureTransformer()
    older.__setstate__(state)
    assert_array_equal(older.painted_, features.ignored_)

"""Photos judged in parts are judged as all at once."""

from __future__ import annotations

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_array_equal

from skpadim.inspection import Request
from skpadim.judging import Judge
from small import small


@pytest.fixture(scope="module")
def detector(photos):
    return small(batch_size=3).fit(photos.X_train)


@pytest.fixture(scope="module")
def judge(detector):
    features, channels, gaussian = (step for _, step in detector.pipeline_.steps)
    return Judge(features, channels.by_layer([shape[0] for shape in features.level_shapes_]), gaussian)


def joined(parts):
    pairs = [(list(indices), np.asarray(values)) for indices, values in parts]
    return [index for indices, _ in pairs for index in indices], np.concatenate([each for _, each in pairs])


@pytest.mark.parametrize("what", ["image_scores", "maps", "mark"])
def test_parts_come_in_order_and_are_what_one_job_finds(what, judge, photos):
    X = np.concatenate([photos.X_train, photos.X_test])
    expected = joined(judge.values(judge.features.images(X), what))
    with parallel_config(backend="threading"):
        found = joined(judge.values_by(2, judge.features.images(X), what))
    assert found[0] == expected[0] == list(range(len(X)))
    assert_array_equal(found[1], expected[1])


def test_scores_are_minus_those_of_the_detector(judge, detector, photos):
    found = joined(judge.values(judge.features.images(photos.X_test), "image_scores"))[1]
    assert_array_equal(-found, detector.score_samples(photos.X_test))


def test_inspections_come_one_by_one_with_their_places(judge, photos):
    X = np.concatenate([photos.X_train, photos.X_test])
    with parallel_config(backend="threading"):
        found = list(judge.inspections_by(2, judge.features.images(X), Request()))
    expected = list(judge.inspections(judge.features.images(X), Request()))
    assert [each.index for each in found] == list(range(len(X)))
    assert [each.score for each in found] == [each.score for each in expected]

"""OneClassKFold: what is trained on, what is tested, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV, cross_val_score

from skpadim import PatchGaussian
from skpadim.model_selection import OneClassKFold

Y = np.array([1, -1, 1, 1, 1, -1, 1, 1, 1])


@pytest.mark.parametrize("shuffle", [False, True])
def test_good_images_alone_are_trained_on_and_each_is_tested_once(shuffle):
    splits = list(OneClassKFold(3, shuffle=shuffle).split(np.zeros((9, 2)), Y))
    assert len(splits) == OneClassKFold(3).get_n_splits() == 3
    for train, test in splits:
        assert (Y[train] == 1).all()
        assert {1, 5} <= set(test)
        assert not set(train) & set(test)
        assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(9))
    tested_good = np.concatenate([test[Y[test] == 1] for _, test in splits])
    assert_array_equal(np.sort(tested_good), np.flatnonzero(Y == 1))


def test_shuffling_is_seeded():
    def splits(**params):
        return [test.tolist() for _, test in OneClassKFold(3, **params).split(np.zeros(9), Y)]

    assert splits(shuffle=True) == splits(shuffle=True)
    assert splits(shuffle=True) != splits()
    assert splits(shuffle=True, random_state=1) != splits(shuffle=True, random_state=2)


def test_in_cross_validation_and_grid_search():
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(90, 3)), rng.normal(size=(10, 3)) + 5])
    y = np.repeat([1, -1], [90, 10])
    scores = cross_val_score(PatchGaussian(), X, y, cv=OneClassKFold(3), scoring="roc_auc")
    assert scores.min() > 0.95
    search = GridSearchCV(
        PatchGaussian(), {"epsilon": [0.01, 1.0]}, cv=OneClassKFold(3), scoring="roc_auc", refit=False
    )
    assert search.fit(X, y).cv_results_["mean_test_score"].min() > 0.95


@pytest.mark.parametrize("n_splits", ["3", 2.5, 1])
def test_bad_number_of_folds(n_splits):
    with pytest.raises(ValueError, match=r"folds must be of Integral type|n_splits=2 or more"):
        list(OneClassKFold(n_splits).split(np.zeros(9), Y))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y is missing"),
        (np.array([0, 1, 1, 0]), r"\[0\]"),
        (["good", "bad", "good", "good"], "expected"),
        ([1, 1, None, -1], r"labels \[None\]; expected"),
        ([1, 1, -1, -1], "n_splits=3"),
        ([1, 1, 1], "inconsistent"),
    ],
)
def test_bad_labels(y, message):
    with pytest.raises(ValueError, match=message):
        list(OneClassKFold(3).split(np.zeros(4), y))

"""Labels in y: where they say that defects are learned as good, a fit warns."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline

from skpadim import PatchGaussian, RandomChannelSelector
from skpadim.base.checks import check_layer_names, warn_of_defective
from skpadim.model_selection import OneClassKFold
from small import small

LABELS = [1, -1, 1, 1, -1, 1]


@pytest.mark.parametrize(
    "y",
    [
        LABELS,
        tuple(LABELS),
        np.array(LABELS),
        np.array(LABELS, dtype=float)[:, None],
        np.array(LABELS, dtype=object),
        pd.Series(LABELS, index=list("abcdef")),
        pd.Series(LABELS, dtype="Int64"),
        torch.tensor(LABELS),
    ],
    ids=lambda y: type(y).__name__,
)
def test_labels_of_any_kind_are_counted(y):
    with pytest.warns(UserWarning, match=r"^2 of 6 images are labelled -1 in y.*X\[y == 1\].*OneClassKFold"):
        warn_of_defective(y, 6)


@pytest.mark.parametrize(
    "y",
    [
        None,
        [1] * 6,
        [0, 1, 1, 0, 1, 1],
        [-1.0, 2.5, 1, 1, 1, 1],
        [True, False] * 3,
        ["good", "bad", "good", "good", "good", "-1"],
        [1, None, -1, 1, 1, 1],
        [[1], [1, -1], [1], [1], [1], [1]],
        [{1}, {-1}, 1, 1, 1, 1],
        LABELS[:5],
        [LABELS] * 6,
        -1,
        "labels",
    ],
    ids=repr,
)
def test_all_else_is_ignored(y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_defective(y, 6)


def rows():
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(40, 3)), rng.normal(size=(5, 3)) + 5])
    return X, np.repeat([1, -1], [40, 5])


def test_a_fit_on_defects_warns_and_learns_them(photos):
    X, y = rows()
    with pytest.warns(UserWarning, match="5 of 45 images are labelled -1") as caught:
        fitted = PatchGaussian().fit(X, y)
    assert len(caught) == 1
    np.testing.assert_array_equal(fitted.loo_scores_, PatchGaussian().fit(X).loo_scores_)
    with pytest.warns(UserWarning, match="5 of 45 images") as caught:
        Pipeline([("channels", RandomChannelSelector(2)), ("gaussian", PatchGaussian())]).fit(X, y)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="12 of 22 images are labelled -1") as caught:
        small().fit(photos.X_test, photos.y_test)
    assert len(caught) == 1
    small().fit(photos.X_train, np.ones(30))


def test_a_search_that_refits_on_defects_warns_once():
    X, y = rows()
    grid = {"epsilon": [0.01, 1.0]}
    with pytest.warns(UserWarning, match="refit=False") as caught:
        GridSearchCV(PatchGaussian(), grid, cv=OneClassKFold(2), scoring="roc_auc").fit(X, y)
    assert len(caught) == 1
    GridSearchCV(PatchGaussian(), grid, cv=OneClassKFold(2), scoring="roc_auc", refit=False).fit(X, y)


@pytest.mark.filterwarnings("ignore:false_alarm_rate")
def test_each_fold_that_trains_on_defects_warns():
    """scikit-learn's folds of rows in order: the defects are all in the last, and two train on them."""
    X, y = rows()
    with pytest.warns(UserWarning, match="images are labelled -1 in y") as caught:
        cross_val_score(PatchGaussian(), X, y, cv=3, scoring="accuracy")
    assert len(caught) == 2


@pytest.mark.parametrize("y", [[0, 1, -1, 0, 1, 1], [np.nan, -1, 1, 1, 1, 1]], ids=repr)
def test_labels_among_others_are_told(y):
    with pytest.warns(UserWarning, match="1 of 6 images are labelled -1"):
        warn_of_defective(y, 6)


@pytest.mark.parametrize("layers", [5, "layer1", [1, 2], None])
def test_layers_that_are_no_names_are_told(layers):
    with pytest.raises(TypeError, match=r"layers must be a list of names.*got"):
        check_layer_names(layers)

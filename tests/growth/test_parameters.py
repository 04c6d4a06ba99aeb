"""Parameters that changed between two calls are told by name."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from skpadim import PatchGaussian
from skpadim.growth.parameters import refuse_fixed, refuse_other_parameters

MASK = np.eye(3, dtype=bool)


@pytest.mark.parametrize(
    ("before", "now"),
    [(1.0, 1), ("auto", "auto"), (None, None), (MASK, MASK.copy()), (["a"], ["a"]), (np.nan, np.nan)],
)
def test_same_values_pass(before, now):
    refuse_other_parameters({"name": before}, {"name": now}, free=set())


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (1.0, 2),
        ("auto", 1),
        (None, "a"),
        (MASK, ~MASK),
        (MASK, None),
        (MASK, [MASK]),
        ([MASK], [~MASK]),
        (1, "x"),
    ],
)
def test_others_are_named(before, now):
    with pytest.raises(ValueError, match=r"^sigma=.* is not as when photos were learned first"):
        refuse_other_parameters({"a": 1, "sigma": before}, {"a": 1, "sigma": now}, free={"a"})


def test_free_ones_may_change():
    refuse_other_parameters({"n_jobs": 1}, {"n_jobs": 2}, free={"n_jobs"})


def test_long_values_are_cut():
    with pytest.raises(ValueError, match=r"\.\.\. is not as") as caught:
        refuse_other_parameters({"ignore": None}, {"ignore": np.zeros((30, 30))}, free=set())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_fitted_ones_that_carry_nothing_are_refused():
    rows = np.random.default_rng(0).normal(size=(40, 3))
    refuse_fixed(PatchGaussian())
    refuse_fixed(PatchGaussian().partial_fit(rows))
    with pytest.raises(ValueError, match=r"PatchGaussian does not grow.*sklearn\.base\.clone") as caught:
        refuse_fixed(PatchGaussian().fit(rows))
    assert not isinstance(caught.value, NotFittedError)

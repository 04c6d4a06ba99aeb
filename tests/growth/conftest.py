"""Fixtures of detectors that grow."""

from __future__ import annotations

import numpy as np
import pytest

from growing import PARAMS
from small import small


@pytest.fixture(scope="module")
def one_fit(photos):
    return small(**PARAMS).fit(photos.X_train)


@pytest.fixture
def days(photos):
    """Return the photos of five days, of which the first two bring one each."""
    return np.split(photos.X_train, [1, 2, 10, 18])

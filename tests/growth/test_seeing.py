"""Photos that pass the network."""

from __future__ import annotations

import pytest

from small import small


@pytest.mark.parametrize("X", [[], iter([])], ids=["list", "iterator"])
def test_no_photo_is_refused(X):
    detector = small()
    before = dict(vars(detector))
    with pytest.raises(ValueError, match=r"Found n_samples=0 image\(s\) in X, at least 1 are needed"):
        detector.partial_fit(X)
    assert vars(detector) == before

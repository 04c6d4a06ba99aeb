"""Good photos that are not like the others: which do not fit, and how much a part must fit to be found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

# Photos that fit less than this share of what the middle one does add nothing to a template.
FITTING = 0.5
# A part is found that fits so much of what the middle good photo does, or of what the worst does.
OF_MIDDLE, _OF_WORST = 0.8, 0.9
# Good photos that agree less with each other show no part that is found.
_AGREE = 0.6
# A photo stands apart that fits less than this share of what the middle one does, and lies further from it
# than this many times what the middle half does. Where the others are much alike, less of a difference is
# enough: so are mirrored parts told.
_APART = ((OF_MIDDLE, 5.0), (0.9, 10.0))
_N_NAMED = 3


def least_fit(fits: NDArray[np.float64]) -> float:
    """Return how much a part must fit to be found.

    Parameters
    ----------
    fits : ndarray of shape (n,)
        Of good photos, each to the mean of all others. The worst of those that make the template counts: one
        photo that shows something else would let anything pass.

    Returns
    -------
    float

    Examples
    --------
    >>> float(round(least_fit(np.array([0.9, 0.8, 1.0, 0.95, 0.1])), 3))
    0.72
    """
    middle = float(np.median(fits))
    return min(OF_MIDDLE * middle, _OF_WORST * float(fits[fits >= FITTING * middle].min()))


def explain_disagreement(fits: NDArray[np.float64]) -> str | None:
    """Say that good photos do not agree with each other; None if they do."""
    middle = float(np.median(fits))
    if middle >= _AGREE:
        return None
    return (
        f"The middle good photo agrees by {middle:.2f} only with the mean of all others, once their parts "
        f"are moved to one place; expected at least {_AGREE}. Photos may show no part, or several, or look "
        "different each time. Pass align=None, or 'auto', which tells."
    )


def explain_misfits(
    fits: NDArray[np.float64], indices: Sequence[int], describe: Callable[[int], str]
) -> str | None:
    """Say which good photos agree far less with the others than these do; None if none does.

    Parameters
    ----------
    fits : ndarray of shape (n,)
    indices : sequence of int
        Of the photos in X.
    describe : callable
        Names a photo by its index.

    Returns
    -------
    str or None

    Examples
    --------
    >>> explain_misfits(np.array([0.98, 0.97, 0.98, 0.7]), range(4), "X[{}]".format)[:91]
    '1 of 4 good photos agree far less with the mean of all others than most do: X[3] by 0.70; t'
    """
    middle = float(np.median(fits))
    spread = float(np.median(np.abs(fits - middle)))
    # Where fits vary much, as those of surfaces do, one that is low says little.
    stands = [(fits < share * middle) & (fits < middle - times * spread) for share, times in _APART]
    apart = np.flatnonzero(np.logical_or.reduce(stands))
    if not len(apart):
        return None
    worst = apart[np.argsort(fits[apart], kind="stable")][:_N_NAMED]
    named = ", ".join(f"{describe(indices[at])} by {fits[at]:.2f}" for at in worst)
    worst_of_many = ", the worst" if len(apart) > _N_NAMED else ""
    return (
        f"{len(apart)} of {len(fits)} good photos agree far less with the mean of all others than most do: "
        f"{named}{worst_of_many}; the middle one by {middle:.2f}. Their parts may be mirrored, turned by "
        "more than max_angle, shifted by more than max_shift, or not there. Look at them, and leave out what "
        "is no good part."
    )

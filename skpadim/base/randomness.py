"""Random generators that never touch the global state of numpy or torch."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state


def fresh_random_state(random_state: int | np.random.RandomState | None) -> np.random.RandomState:
    """Return the generator that ``random_state`` asks for; None is seeded by the operating system.

    scikit-learn's check_random_state would hand out numpy's global generator for None.
    """
    return np.random.RandomState() if random_state is None else check_random_state(random_state)


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Return a seed: an int as it is, otherwise one drawn from the generator."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(fresh_random_state(random_state).randint(np.iinfo(np.int32).max))

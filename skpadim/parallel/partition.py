"""How many photos a worker takes at a time."""

from __future__ import annotations

# A part takes much longer to work on than what is found of it takes to travel.
_MOST_PHOTOS = 1024
# So many parts at least, that all workers have something to do until the end.
_LEAST_PARTS = 16
# One machine merges all of them.
_MOST_PARTS = 4096


def part_size(n_images: int | None, batch_size: int, most: int | None = None) -> int:
    """Return how many photos are in a part: whole batches, whoever works on them.

    Parameters
    ----------
    n_images : int or None
        None: nobody knows.
    batch_size : int
    most : int, optional
        Photos in a part. Default: 1024, or more where there would be too many parts to merge.

    Returns
    -------
    int

    Examples
    --------
    >>> part_size(20_000, 32), part_size(100, 32), part_size(None, 100)
    (1024, 32, 1100)
    """
    if most is None:
        most = max(_MOST_PHOTOS, -(-(n_images or 0) // _MOST_PARTS))
    wanted = most if n_images is None else min(most, -(-n_images // _LEAST_PARTS))
    return -(-wanted // batch_size) * batch_size

"""Notes of photos read apart are those of photos read together."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from skpadim.images.notes import Notes, NoteTaker


class Photos(NoteTaker):
    n_given = 10


def narrow(value):
    notes = Notes()
    notes.range_seen.add(np.full((1, 8, 8), value, dtype=np.uint8), beyond=0.0)
    return notes


def test_failures_are_counted_from_where_a_part_begins():
    notes = Notes({1: "first"})
    notes.absorb(Notes({0: "second", 3: "third"}), 4)
    assert notes.failures == {1: "first", 4: "second", 7: "third"}


def test_the_first_photo_of_a_kind_is_named():
    notes = Notes(deep={True: (1, "a")}, lost=(1, "of a"))
    notes.absorb(Notes(deep={True: (0, "b"), False: (1, "c")}, lost=(0, "of b")), 2)
    assert notes.deep == {True: (1, "a"), False: (3, "c")}
    assert notes.lost == (1, "of a")
    assert notes.explain_mixture().startswith("a states which values are black and white, and c,")

    nothing = Notes()
    nothing.absorb(Notes(lost=(0, "of b")), 2)
    assert nothing.lost == (2, "of b")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_first_photo_is_named_whichever_is_decoded_first(order):
    notes = Notes()
    for index in order:
        notes.add_deep(index, f"X[{index}]", is_stated=index == 1)
        notes.add_lost(index, f"of X[{index}]")
    assert notes.deep == {True: (1, "X[1]"), False: (0, "X[0]")}
    assert notes.lost == (0, "of X[0]")


def test_the_range_is_that_of_all():
    notes = narrow(100)
    notes.absorb(narrow(110), 1)
    assert "from 0.39 to 0.43 of it" in notes.range_seen.explain()
    notes.absorb(narrow(255), 2)
    assert notes.range_seen.explain() is None


def test_what_is_told_and_what_not():
    photos = Photos("auto", skip_failures=True)
    photos.notes.absorb(
        Notes({2: "X[2] is torn"}, deep={True: (0, "a"), False: (1, "b")}, lost=(0, "bits of a")), 0
    )
    with pytest.warns(UserWarning, match=r"1 of 10 images .* the first: X\[2\] is torn"):
        photos.warn_of_failures()
    with pytest.warns(UserWarning, match="two scales"):
        photos.warn_of_range()
    with pytest.warns(UserWarning, match="bits of a"):
        photos.warn_of_lost_bits()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        photos.warn_of_lost_bits()  # once
        photos.keep_silent()
        photos.warn_of_failures()
        photos.warn_of_range()


def test_photos_without_the_part_are_counted_and_the_first_is_named():
    photos = Photos("auto", skip_failures=False)
    photos.warn_of_astray()  # nothing to tell
    for index, reasons in [(0, []), (3, ["X[4] fits badly", "X[5] fits badly"]), (6, ["X[6] fits badly"])]:
        notes = Notes()
        for reason in reasons:
            notes.add_astray(reason)
        photos.notes.absorb(notes, index)
    with pytest.warns(UserWarning, match=r"not found in 3 of 10 images in X, the first: X\[4\] fits badly"):
        photos.warn_of_astray()
    photos.keep_silent()
    photos.warn_of_astray()

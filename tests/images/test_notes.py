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
    notes = Notes(deep={True: "a"}, lost="of a")
    notes.absorb(Notes(deep={True: "b", False: "c"}, lost="of b"), 2)
    assert notes.deep == {True: "a", False: "c"}
    assert notes.lost == "of a"
    assert notes.explain_mixture().startswith("a states which values are black and white, and c,")


def test_the_range_is_that_of_all():
    notes = narrow(100)
    notes.absorb(narrow(110), 1)
    assert "from 0.39 to 0.43 of it" in notes.range_seen.explain()
    notes.absorb(narrow(255), 2)
    assert notes.range_seen.explain() is None


def test_what_is_told_and_what_not():
    photos = Photos("auto", skip_failures=True)
    photos.notes.absorb(Notes({2: "X[2] is torn"}, deep={True: "a", False: "b"}, lost="bits of a"), 0)
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

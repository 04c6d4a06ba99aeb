"""Which photos were learned: names, copies, parts, and those that are gone."""

from __future__ import annotations

from skpadim.growth.photos import PhotosSeen


def content(letter):
    return letter.encode() * 8


def seen(*calls, skipped=0):
    """Take in calls, each a list of batches of letters, after so many photos that cannot be read."""
    photos = PhotosSeen()
    for batches in calls:
        photos.begin()
        place = photos.n_given + skipped
        for batch in batches:
            paths = [f"{letter}.png" if letter.islower() else "" for letter in batch]
            photos.add([content(letter) for letter in batch], range(place, place + len(batch)), paths)
            place += len(batch)
        photos.end(place - photos.n_given)
    return photos


def test_names_tell_index_path_and_call():
    photos = seen(["aB", "c"], ["d"])
    assert [photos.describe(at) for at in range(4)] == [
        "X[0] ('a.png') of call 1",
        "X[1] of call 1",
        "X[2] ('c.png') of call 1",
        "X[0] ('d.png') of call 2",
    ]
    assert seen(["aB"], skipped=2).describe(1) == "X[3]"


def test_photos_are_found_with_all_copies():
    photos = seen(["ab"], ["ca"])
    found, unknown = photos.find({3: content("a"), 5: content("x"), 7: content("c")})
    assert (sorted(found), unknown) == ([(3, 0), (3, 3), (7, 2)], [5])


def test_the_same_photo_twice_in_x_is_one():
    found, unknown = seen(["ab"]).find({0: content("a"), 1: content("a"), 2: content("z"), 3: content("z")})
    assert ([at for _, at in found], unknown) == ([0], [2, 3])


def test_parts_are_numbered_one_after_the_other():
    photos, other = seen(["ab"], skipped=1), seen(["c"], ["de"])
    photos.absorb(other)
    assert list(photos.places) == [1, 2, 3, 4, 5]
    assert photos.n_given == 6
    assert list(photos.together) == [2, 2, 1, 2, 2]
    assert photos.describe(4) == "X[1] ('e.png') of call 3"
    assert list(other.places) == [0, 1, 2]


def test_those_that_are_gone_leave_the_places_of_others():
    photos = seen(["ab", "cd"], ["e"])
    photos.remove([1, 3])
    assert list(photos.places) == [0, 2, 4]
    assert photos.paths == ["a.png", "c.png", "e.png"]
    assert photos.find({0: content("b"), 1: content("e")}) == ([(1, 2)], [0])
    assert photos.describe(2) == "X[0] ('e.png') of call 2"
    photos.begin()
    photos.add([content("f")], [photos.n_given], [""])
    assert list(photos.places) == [0, 2, 4, 5]


def test_copies_are_told_of_the_latest_call_alone():
    photos = seen(["ab", "a"], ["cb"])
    assert photos.explain_copies(0).startswith("2 of 5 images in X are exact copies")
    said = photos.explain_copies(3)
    assert said.startswith(
        "1 of 2 images in X are exact copies of others, the first: X[1] ('b.png') of call 2 of X[1]"
    )
    assert photos.explain_copies(5) is None


def test_copies_of_the_record_are_independent():
    photos = seen(["ab"])
    copied = photos.copy()
    copied.begin()
    copied.add([content("c")], [2], [""])
    copied.remove([0])
    assert len(photos) == 2 and photos.starts == [0] and photos.find({0: content("a")})[0]


def test_bytes_are_counted():
    assert seen(["abC"]).nbytes == 3 * 20 + 2 * len("a.png")

"""What folders hold, and errors that say what was expected and found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from skpadim.datasets import load_inspection_folder
from skpadim.datasets.files import (
    category_folder,
    contents,
    images_in,
    lines_of,
    listing,
    open_array,
    read_json,
    refuse_missing,
    subfolders,
)
from trees import names, write_image, write_text


def test_folder_with_photos_elsewhere(tmp_path):
    for number in range(12):
        write_image(tmp_path / "photos" / f"{number:03d}.png")
    with pytest.raises(ValueError, match=r"no folder '.*train/good': .*; found: '.*' holds 'photos/'\."):
        load_inspection_folder(tmp_path)
    with pytest.raises(ValueError, match=r"found: '.*' holds '000.png', .*'007.png', 4 more\."):
        load_inspection_folder(tmp_path / "photos")


def test_suffix_of_a_plugin_that_is_imported_later(tmp_path, monkeypatch):
    write_image(tmp_path / "train" / "good" / "a.png")
    (tmp_path / "train" / "good" / "b.plugin").write_bytes(
        (tmp_path / "train" / "good" / "a.png").read_bytes()
    )
    assert len(load_inspection_folder(tmp_path).X_train) == 1
    monkeypatch.setitem(Image.EXTENSION, ".plugin", "PNG")
    assert len(load_inspection_folder(tmp_path).X_train) == 2


def test_images_by_name_without_what_is_hidden_or_none(tmp_path):
    for name in ("b.png", "a.JPG", ".hidden.png", "folder.png/c.png"):
        write_image(tmp_path / name)
    write_text(tmp_path / "notes.txt")
    assert names(images_in(tmp_path, "photos"), tmp_path) == ["a.JPG", "b.png"]
    with pytest.raises(ValueError, match=r"expected in '.*': one folder each; found: .*'a.JPG'"):
        subfolders(tmp_path, "one folder each")
    write_image(tmp_path / "above" / "b" / "c.png")
    write_image(tmp_path / "above" / "a" / "c.png")
    assert names(subfolders(tmp_path / "above", "one folder each"), tmp_path) == ["above/a", "above/b"]


@pytest.mark.parametrize(
    ("n_names", "expected"), [(0, "nothing"), (1, "'0'"), (3, "'0', '1', '2'"), (5, "'0', '1', '2', 2 more")]
)
def test_long_listings_are_cut(n_names, expected):
    assert listing([str(number) for number in range(n_names)], most=3) == expected


def test_contents_of_what_is_not_there_are_those_of_the_folder_above(tmp_path):
    write_text(tmp_path / "notes.txt")
    (tmp_path / "photos").mkdir()
    assert contents(tmp_path / "no" / "such") == f"{str(tmp_path)!r} holds 'notes.txt', 'photos/'"
    assert contents(tmp_path / "notes.txt") == f"{str(tmp_path / 'notes.txt')!r}, which is a file"


def test_a_category_is_a_known_name_and_a_folder(tmp_path):
    for name in ("bolt", "nut", "other"):
        (tmp_path / name).mkdir()
    assert category_folder(tmp_path, "nut", "bolt, nut, washer", "Parts") == tmp_path / "nut"
    for category in ("other", "washer"):
        with pytest.raises(
            ValueError, match=f"category='{category}' is not there. Parts has bolt, nut, washer"
        ):
            category_folder(tmp_path, category, "bolt, nut, washer", "Parts")


def test_missing_files_are_counted(tmp_path):
    write_text(tmp_path / "a.txt")
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    refuse_missing(paths[:1], tmp_path / "list.csv")
    with pytest.raises(
        ValueError, match=r"2 file\(s\) that '.*list.csv' names .* first '.*b.txt'; .*'a.txt'"
    ):
        refuse_missing(paths, tmp_path / "list.csv")


def test_text_and_json(tmp_path):
    path = tmp_path / "table.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": "\xe4"}, ensure_ascii=False).encode() + b"\r\n")
    assert list(lines_of(path)) == ['{"a": "\xe4"}\r\n'], "without the mark of its encoding"
    assert read_json(path, "a table") == {"a": "\xe4"}
    path.write_text("[")
    with pytest.raises(ValueError, match=r"table.json' is not json: .*; expected a table"):
        read_json(path, "a table")
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not a text file in UTF-8"):
        read_json(path, "a table")


def test_arrays_are_mapped_and_others_named(tmp_path):
    values = np.arange(6).reshape(2, 3)
    np.save(tmp_path / "one.npy", values)
    mapped = open_array(tmp_path / "one.npy")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, values)
    np.savez(tmp_path / "several.npy", values, values)
    (tmp_path / "several.npy.npz").rename(tmp_path / "several.npy")
    write_text(tmp_path / "text.npy")
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    for name, message in [
        ("several", "holds several arrays"),
        ("text", "cannot be read as an array"),
        ("objects", "cannot be read as an array"),
        ("gone", "there is no file"),
    ]:
        with pytest.raises(ValueError, match=rf"{name}.npy'.*{message}|{message} '.*{name}.npy'"):
            open_array(tmp_path / f"{name}.npy")

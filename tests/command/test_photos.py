"""Which photos a command is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from skpadim.command.photos import find_photos, find_training_groups, find_training_photos, photos_below
from trees import write_image, write_text


@pytest.fixture
def tree(tmp_path):
    for name in ("b.png", "a.png", "sub/c.PNG", ".hidden.png", ".cache/d.png", "masks/e.png"):
        write_image(tmp_path / name)
    write_text(tmp_path / "notes.txt")
    return tmp_path


def test_folders_hold_photos_and_other_things(tree):
    assert [str(path.relative_to(tree)) for path in photos_below(tree)] == ["a.png", "b.png", "sub/c.PNG"]


def test_photos_come_in_order_and_once(tree):
    chosen = find_photos([tree / "sub", tree / "b.png", tree])
    assert chosen.paths == [str(tree / name) for name in ("a.png", "b.png", "sub/c.PNG")]
    assert chosen.name(chosen.paths[2]) == Path("sub", "c.PNG") and chosen.labels == {}


def test_paths_stay_as_they_were_given(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert find_photos([Path("sub")]).paths == ["sub/c.PNG"]
    assert find_photos([Path("a.png")]).name("a.png") == Path("a.png")


def test_files_that_are_named_are_taken_whatever_they_are(tree):
    assert find_photos([tree / "notes.txt"]).paths == [str(tree / "notes.txt")]


def test_of_a_folder_with_photos_to_train_on_the_others_are_taken(drawn, capsys):
    chosen = find_photos([drawn])
    assert chosen.paths == sorted(str(path) for path in (drawn / "test").rglob("*.png"))
    assert "are taken" in capsys.readouterr().err
    kinds = {path: chosen.labels[path].defect for path in chosen.paths}
    assert all(Path(path).parent.name == kind for path, kind in kinds.items())
    assert chosen.labels[chosen.paths[0]].mask == drawn / "ground_truth" / "burr" / "000_mask.png"


def test_photos_to_train_on(drawn, tree):
    assert find_training_photos(drawn) == sorted((drawn / "train" / "good").iterdir())
    assert find_training_photos(tree) == [tree / "a.png", tree / "b.png"]
    with pytest.raises(ValueError, match="photos of good parts, right in the folder or in 'train/good'"):
        find_training_photos(tree / ".cache" / "d.png")


def test_folders_of_good_photos_alone_may_be_groups(tmp_path):
    for name in ("mon/a.png", "tue/b.png", "tue/shift 2/c.png"):
        write_image(tmp_path / "parts" / "train" / "good" / name)
    for folder in (tmp_path / "parts", tmp_path / "parts" / "train" / "good"):
        with pytest.raises(ValueError, match=r"all below are of good parts, with --groups .*'mon/', 'tue/'"):
            find_training_photos(folder)
    paths, groups = find_training_groups(tmp_path / "parts")
    assert len(paths) == 3 and groups == ["mon", "tue", "tue/shift 2"]


@pytest.mark.parametrize(
    "names",
    [
        ["mon/a.png"],  # one group
        ["mon/a.png", "tue/notes.txt"],
        ["train/bad/a.png", "test/good/b.png"],
        ["good/a.png", "bad/b.png"],
        ["ground_truth/cut/a.png", "ground_truth/dent/b.png"],
    ],
)
def test_other_folders_are_no_groups(tmp_path, names):
    for name in names:
        (write_image if name.endswith(".png") else write_text)(tmp_path / name)
    for folder in (tmp_path, tmp_path / "ground_truth"):
        with pytest.raises(ValueError) as caught:
            find_training_photos(folder)
        assert "--groups" not in str(caught.value)


def test_what_is_not_there_is_named(tree):
    with pytest.raises(ValueError, match=r"there is no file or folder .*nowhere.*; found: .*'a\.png'"):
        find_photos([tree / "nowhere"])
    (tree / "empty").mkdir()
    with pytest.raises(ValueError, match="there is no photo in"):
        find_photos([tree / "empty"])


def test_names_stay_below_the_root_whatever_the_way_to_a_photo(tree, monkeypatch):
    monkeypatch.chdir(tree / "sub")
    chosen = find_photos([Path("../a.png"), Path("c.PNG")])
    assert [chosen.name(path) for path in chosen.paths] == [Path("a.png"), Path("sub/c.PNG")]


def test_folders_to_write_to_are_left_out(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert find_photos([Path(".")], without=[tree / "sub"]).paths == ["a.png", "b.png"]

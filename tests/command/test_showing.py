"""info, threshold and check."""

from __future__ import annotations

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from commands import run
from skpadim.datasets import make_inspection_images
from skpadim.model_file import load_model, read_card, save_model


@pytest.fixture
def copied(model_path, tmp_path):
    return shutil.copy(model_path, tmp_path / "m.skpadim")


def test_info_is_what_the_card_says(model_path):
    card, text = read_card(model_path), run("info", model_path).stdout
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    assert ["Name", "line3"] in lines and ["Made", card["created"]] in lines
    assert ["Threshold", f"{card['threshold']:.6g} (false-alarm rate 0.1)"] in lines
    assert f"{card['training'][0]['loo_score']:.4g}" in text and card["training"][0]["path"] in text


def test_info_says_that_jpegs_are_decoded_to_fewer_pixels(drawn, tmp_path):
    path = tmp_path / "m.skpadim"
    run("fit", drawn, "-o", path, "--image-size", "32", "--decoding", "draft")
    assert read_card(path)["decoding"] == "draft"
    assert "JPEGs as drafts" in run("info", path).stdout


@pytest.mark.parametrize(("resize", "words"), [("pad", "padded to"), ("crop", "cropped to")])
def test_info_says_what_becomes_of_another_aspect(drawn, tmp_path, resize, words):
    path = tmp_path / "m.skpadim"
    run("fit", drawn, "-o", path, "--image-size", "32x64", "--resize", resize)
    assert read_card(path)["resize"] == resize
    assert f"photos {words} 64 x 32 px" in run("info", path).stdout


def test_info_says_what_was_decided_of_photos(tmp_path):
    photos = make_inspection_images(24, 0, 0, image_size=96, max_angle=8, max_shift=6).X_train
    for place, photo in enumerate(photos):
        folder = tmp_path / "parts" / f"day {place % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(folder / f"{place}.png")
    mask = np.zeros((96, 96), np.uint8)
    mask[:9] = 255
    Image.fromarray(mask).save(tmp_path / "ignore.png")
    path, options = tmp_path / "m.skpadim", ["--image-size", "96", "--false-alarm-rate", "0.2", "--groups"]
    options += ["--align", "auto", "--patch-stride", "16", "--ignore", tmp_path / "ignore.png"]
    parts = 'turned and shifted to where good photos have them, as align="auto" decided'
    assert f"\nParts: {parts}.\n" in run("fit", tmp_path / "parts", "-o", path, *options).stdout
    card, text = read_card(path), run("info", path).stdout
    assert (card["align"], card["align_by_auto"], card["patch_stride"]) == ("rigid", True, 16)
    assert (card["ignore"], card["n_groups"]) == (True, 3)
    lines = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert lines["Parts"] == parts and lines["Patches"] == "at least 16 px apart"
    assert lines["Ignored"] == "a region of all aligned photos"
    assert lines["Groups"].startswith("3, each left out as a whole: a threshold by a false-alarm rate")


def test_info_of_a_card_of_an_earlier_version(model, copied):
    later = ("align", "align_by_auto", "patch_stride", "ignore", "n_groups")
    with zipfile.ZipFile(copied) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    card = {name: value for name, value in json.loads(contents["card.json"]).items() if name not in later}
    contents["card.json"] = json.dumps(card).encode()
    with zipfile.ZipFile(copied, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    text = run("info", copied).stdout
    assert "Sees" in text and "Parts" not in text and "Groups" not in text
    assert load_model(copied).card == card
    run("threshold", copied, "--value", "12.5")
    assert read_card(copied)["align"] is None, "what is known of it now"


def test_info_of_a_file_without_a_card(model, tmp_path):
    import skops.io

    skops.io.dump(model.detector, tmp_path / "m.skops")
    text = run("info", tmp_path / "m.skops").stdout
    highest = model.detector.loo_indices_[model.detector.loo_scores_.argmax()]
    assert "Learned     24 photos\n" in text and f"photo {highest}  above the threshold" in text
    assert "Made" not in text and "Versions" not in text


def test_threshold_is_shown(model, model_path):
    before = model_path.read_bytes()
    text = run("threshold", model_path).stdout
    assert f"Threshold {-model.detector.offset_:.6g}, for a false-alarm rate of 0.1." in text
    shown = {line.split()[0]: line.split()[1] for line in text.splitlines() if line.startswith("  ")}
    scores = np.sort(model.detector.loo_scores_)
    assert shown["0.1"] == f"{scores[-2]:.6g}" and shown["0.05"] == shown["0.001"] == f"{scores[-1]:.6g}"
    assert "needs 999 photos" in text and model_path.read_bytes() == before


def test_threshold_moves_to_a_rate_and_back(model, copied):
    run("threshold", copied, "--false-alarm-rate", "0.4")
    moved = load_model(copied)
    assert moved.detector.offset_ == model.detector.set_false_alarm_rate(0.4).offset_
    assert (moved.card["threshold"], moved.card["false_alarm_rate"]) == (-moved.detector.offset_, 0.4)
    kept = {
        name: value for name, value in model.card.items() if name not in ("threshold", "false_alarm_rate")
    }
    assert kept.items() <= moved.card.items() and moved.thumbnails() == model.thumbnails()
    assert "(before: " in run("threshold", copied, "--false-alarm-rate", "0.1").stdout
    assert (
        load_model(copied).detector.offset_ == load_model(copied).detector.set_false_alarm_rate(0.1).offset_
    )


def test_threshold_moves_to_a_score(copied, tmp_path):
    before = copied.read_bytes()
    run("threshold", copied, "--value", "12.5", "-o", tmp_path / "other.skpadim")
    assert copied.read_bytes() == before
    moved = load_model(tmp_path / "other.skpadim")
    assert -moved.detector.offset_ == 12.5 and moved.card["false_alarm_rate"] is None
    assert "Threshold 12.5, set as a score." in run("threshold", tmp_path / "other.skpadim").stdout
    assert "set as a score" in run("info", tmp_path / "other.skpadim").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--false-alarm-rate", "1.5"], "false_alarm_rate"),
        (["--value", "-3"], "negative"),
        (["--value", "3", "--false-alarm-rate", "0.1"], "pass one of them"),
        (["--value", "3", "-o", "m.joblib"], "is no .skpadim file"),
    ],
)
def test_a_threshold_that_is_refused_leaves_the_file(copied, arguments, words):
    before = copied.read_bytes()
    result = run("threshold", copied, *arguments, status=2)
    assert result.stderr.startswith("Error: ") and words in result.stderr
    assert copied.read_bytes() == before and len(list(copied.parent.iterdir())) == 1


def test_a_rate_that_asks_for_more_photos_is_warned_of(copied):
    assert (
        "Warning: false_alarm_rate=0.01 needs at least 99"
        in run("threshold", copied, "--false-alarm-rate", "0.01").stderr
    )


def test_check_names_what_is_unusual(model, model_path, parts):
    folder = parts / "test" / "good"
    Image.fromarray(np.full((64, 64, 3), 127, np.uint8)).save(folder / "blank.png")
    paths = sorted(map(str, folder.iterdir()))
    expected = {paths[one.index]: list(one.outside) for one in model.detector.check(paths)}
    result = run("check", model_path, folder, "--json", status=1)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert {record["path"]: list(record["outside"]) for record in records} == expected
    assert "detail" in expected[str(folder / "blank.png")]
    text = run("check", model_path, folder, status=1).stdout
    assert [line.split()[1][:-1] for line in text.splitlines()] == [path for path in paths if expected[path]]
    (folder / "bad.png").write_text("no photo")
    result = run("check", model_path, folder, status=2)
    assert "not read  " in result.stdout and "1 could not be read" in result.stderr


def test_check_of_photos_that_look_as_good_ones(model, model_path, parts):
    paths = [str(path) for path in sorted((parts / "test" / "good").iterdir())]
    fine = [paths[one.index] for one in model.detector.check(paths) if one.ok]
    assert fine
    assert run("check", model_path, *fine, status=0).stdout == ""


def test_models_of_joblib_come_with_a_warning(model, tmp_path):
    import joblib

    joblib.dump(model.detector, tmp_path / "m.joblib")
    result = run("threshold", tmp_path / "m.joblib", "--value", "3", "-o", tmp_path / "m.skpadim")
    assert "Warning: Loading" in result.stderr
    assert -load_model(tmp_path / "m.skpadim").detector.offset_ == 3
    save_model(model.detector, tmp_path / "n.skpadim")
    assert "Warning" not in run("threshold", tmp_path / "n.skpadim").stderr

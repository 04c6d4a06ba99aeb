"""skpadim fit: the model is the library's, and the summary says what was learned."""

from __future__ import annotations

import io
import shutil
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from commands import run
from skpadim import PaDiMDetector
from skpadim.command import fitting
from skpadim.model_file import load_model, read_card


def test_the_model_is_the_one_of_the_library(drawn, model):
    paths = sorted(map(str, (drawn / "train" / "good").glob("*.png")))
    expected = PaDiMDetector(image_size=64, false_alarm_rate=0.1).fit(paths)
    test = sorted(map(str, (drawn / "test").rglob("*.png")))
    assert_array_equal(model.detector.score_samples(test), expected.score_samples(test))
    assert model.detector.offset_ == expected.offset_
    assert_array_equal(model.detector.loo_scores_, expected.loo_scores_)


def test_the_card_tells_of_the_training_photos(drawn, model):
    card = model.card
    paths = sorted(map(str, (drawn / "train" / "good").glob("*.png")))
    scores = dict(zip(paths, model.detector.loo_scores_.tolist(), strict=True))
    assert {row["path"]: row["loo_score"] for row in card["training"]} == scores
    assert [row["loo_score"] for row in card["training"]] == sorted(scores.values(), reverse=True)
    for row in card["training"]:
        others = [score for path, score in scores.items() if path != row["path"]]
        as_high = sum(score >= row["loo_score"] for score in others)
        assert row["p_value"] == pytest.approx((1 + as_high) / (len(others) + 1))
    assert (card["name"], card["n_photos"], card["folder"]) == ("line3", 24, str(drawn))


def test_thumbnails_are_those_of_the_photos_least_like_the_others(model):
    pictures, rows = model.thumbnails(), model.card["training"]
    assert [row.get("thumbnail") for row in rows[:12]] == sorted(pictures)
    assert not any("thumbnail" in row for row in rows[12:])
    for row in rows[:12]:
        with Image.open(io.BytesIO(pictures[row["thumbnail"]])) as small, Image.open(row["path"]) as photo:
            difference = np.asarray(small, float) - np.asarray(photo.convert("RGB"), float)
        assert np.abs(difference).mean() < 8


def test_summary_names_photos_threshold_and_outliers(drawn, tmp_path):
    output = tmp_path / "m.skpadim"
    options = ["--image-size", "64", "--false-alarm-rate", "0.2", "--name", "line 3", "--jobs", "1"]
    result = run("fit", drawn / "train" / "good", "-o", output, *options)
    card = read_card(output)
    above = [row["path"] for row in card["training"] if row["loo_score"] > card["threshold"]]
    assert card["name"] == "line 3" and len(above) == 4
    assert "Learned 24 photos" in result.stdout and f"{card['threshold']:.4g}" in result.stdout
    assert "4 of 24 score above" in result.stdout and "20 %" in result.stdout
    marked = [line for line in result.stdout.splitlines() if line.endswith(" above the threshold")]
    assert [line.split()[1] for line in marked] == above
    assert "Learning: 24 of 24 photos" in result.stderr
    assert "Parts: " not in result.stdout


def test_options_reach_the_detector(drawn, tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[:8] = 255
    Image.fromarray(mask).save(tmp_path / "ignore.png")
    options = {
        "--layers": "blocks.2,blocks.4",
        "--weights": "none",
        "--image-size": "64x72",
        "--crop-size": "56",
        "--resize": "pad",
        "--n-channels": "9",
        "--epsilon": "0.01",
        "--value-range": "0,255",
        "--ignore": tmp_path / "ignore.png",
        "--on-error": "skip",
        "--seed": "5",
        "--batch-size": "7",
        "--device": "cpu",
    }
    output = tmp_path / "m.skpadim"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run("fit", drawn, "-o", output, *[text for pair in options.items() for text in pair])
    params = load_model(output).detector.get_params()
    expected = {
        "layers": ["blocks.2", "blocks.4"],
        "weights": None,
        "image_size": (64, 72),
        "crop_size": 56,
        "resize": "pad",
    }
    expected |= {"n_channels": 9, "epsilon": 0.01, "value_range": (0.0, 255.0), "on_error": "skip"}
    expected |= {"random_state": 5, "batch_size": 7, "device": "cpu", "ignore": str(tmp_path / "ignore.png")}
    assert {name: params[name] for name in expected} == expected


def test_photos_that_cannot_be_read_end_the_fit_or_are_named(parts, tmp_path):
    (parts / "train" / "good" / "zzz.png").write_text("no photo")
    output = tmp_path / "m.skpadim"
    output.write_text("before")
    result = run("fit", parts, "-o", output, "--image-size", "64", status=2)
    assert result.stderr.splitlines()[-1].startswith("Error: X[24] (") and "zzz.png" in result.stderr
    assert output.read_text() == "before" and [p.name for p in tmp_path.iterdir() if "m.sk" in p.name] == [
        "m.skpadim"
    ]
    result = run("fit", parts, "-o", output, "--image-size", "64", "--on-error", "skip")
    assert "Not read: " in result.stderr
    (skipped,) = read_card(output)["skipped"].items()
    assert skipped[0].endswith("zzz.png") and read_card(output)["n_photos"] == 24


def test_summary_says_that_auto_leaves_photos_as_they_lie(drawn, tmp_path):
    options = ["--image-size", "32", "--false-alarm-rate", "0.2", "--align", "auto"]
    result = run("fit", drawn, "-o", tmp_path / "m.skpadim", *options)
    assert '\nParts: taken as they lie, as align="auto" decided.\n' in result.stdout


def test_too_few_photos_are_refused_as_photos(drawn, tmp_path):
    for path in sorted((drawn / "train" / "good").glob("*.png"))[:2]:
        shutil.copy(path, tmp_path)
    result = run("fit", tmp_path, "-o", tmp_path / "m.skpadim", "--image-size", "64", status=2)
    assert "Found n_samples=2 image(s) in X, at least 3 are needed" in result.stderr


def test_photos_in_a_folder_for_every_group(drawn, tmp_path):
    paths = sorted((drawn / "train" / "good").glob("*.png"))
    good = tmp_path / "parts" / "train" / "good"
    for place, path in enumerate(paths):
        day = good / f"day {place % 3}"
        day.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, day)
    output, options = tmp_path / "m.skpadim", ["--image-size", "64", "--false-alarm-rate", "0.2"]
    result = run("fit", tmp_path / "parts", "-o", output, *options, "--groups")
    assert "against all of other groups (3 folders)" in result.stdout
    expected = PaDiMDetector(image_size=64, false_alarm_rate=0.2)
    expected.fit([str(path) for path in paths], groups=np.arange(24) % 3)
    found = load_model(output).detector.loo_scores_
    by_photo = [found[place % 3 * 8 + place // 3] for place in range(24)]
    assert_allclose(by_photo, expected.loo_scores_, rtol=1e-5)
    shutil.copy(paths[0], good)
    result = run("fit", tmp_path / "parts", "-o", output, *options, "--groups", status=2)
    assert "--groups takes the photos of every group from a folder" in result.stderr
    assert "lies in none" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "-o", "m.skpadim", "--groups"], "there is no folder 'nowhere'"),
        (["nowhere", "-o", "m.skpadim"], "there is no folder 'nowhere'"),
        (["{parts}", "-o", "nowhere/m.skpadim"], "there is no folder 'nowhere'"),
        (["{parts}/ground_truth", "-o", "m.skpadim"], "photos of good parts"),
        (["{parts}", "-o", "m.skpadim", "--false-alarm-rate", "2"], "false_alarm_rate"),
        (["{parts}", "-o", "m.skpadim", "--layers", "nolayer"], "nolayer"),
        (["{parts}", "-o", "m.skpadim", "--backbone", "nonet"], "nonet"),
    ],
)
def test_errors_are_one_line(drawn, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = run("fit", *[argument.format(parts=drawn) for argument in arguments], status=2)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: ") and words in last
    assert "Traceback" not in result.output and not (tmp_path / "m.skpadim").exists()


def test_a_large_fit_says_first_what_it_takes(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "_LARGE", 0)
    options = ["-o", tmp_path / "m.skpadim", "--image-size", "64", "--patch-stride", "16"]
    result = run("fit", drawn, *options)
    need = PaDiMDetector(image_size=64, patch_stride=16).memory_need(24).fit
    assert result.stderr.startswith(f"Learning takes about {need / 1e6:.0f} MB of memory.")
    assert load_model(tmp_path / "m.skpadim").detector.patch_stride == 16


@pytest.mark.parametrize(("options", "size"), [({}, (48, 64)), ({"crop_size": 32}, (32, 32))])
def test_progress_counts_photos_of_the_size_that_the_network_sees(options, size):
    assert fitting._size_seen(PaDiMDetector(image_size=(48, 64), **options)) == size

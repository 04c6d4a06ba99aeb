"""skpadim evaluate: the metrics are those of scikit-learn, and of skpadim.metrics on whole maps."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from commands import run
from skpadim.datasets import load_inspection_folder, read_mask
from skpadim.model_file import load_model


def test_metrics_are_those_of_other_programs(model, model_path, drawn):
    found = json.loads(run("evaluate", model_path, drawn, "--json").stdout)
    photos = load_inspection_folder(drawn)
    scores, is_defective = -model.detector.score_samples(photos.X_test), photos.y_test == -1
    assert found["image_roc_auc"] == pytest.approx(roc_auc_score(is_defective, scores))
    assert found["average_precision"] == pytest.approx(average_precision_score(is_defective, scores))
    is_alarm = model.detector.predict(photos.X_test) == -1
    assert found["false_alarms"] == np.sum(is_alarm & ~is_defective)
    assert found["misses"] == np.sum(~is_alarm & is_defective)
    assert (found["good"], found["defective"], found["unreadable"]) == (5, 8, 0)
    maps = model.detector.anomaly_map(photos.X_test)
    masks = [np.zeros((64, 64), bool) if mask is None else read_mask(mask) for mask in photos.masks_test]
    assert found["pixels"]["roc_auc"] == pytest.approx(roc_auc_score(np.ravel(masks), np.ravel(maps)))
    for kind, of_kind in found["kinds"].items():
        is_kind = photos.defects_test == kind
        assert (of_kind["photos"], of_kind["found"]) == (is_kind.sum(), (is_alarm & is_kind).sum())
        among = is_kind | ~is_defective
        assert of_kind["roc_auc"] == pytest.approx(roc_auc_score(is_kind[among], scores[among]))
    assert found["model"] == model.digest


def test_a_person_reads_the_same_numbers(model_path, drawn):
    found = json.loads(run("evaluate", model_path, drawn, "--json", "--false-alarm-rate", "0.5").stdout)
    text = run("evaluate", model_path, drawn, "--false-alarm-rate", "0.5").stdout
    lines = [line.split() for line in text.splitlines()]
    assert ["Image", "ROC", "AUC", f"{found['image_roc_auc']:.4f}"] in lines
    assert ["PRO", "up", "to", "0.3", f"{found['pixels']['pro']:.4f}"] in lines
    assert ["false", "alarms", str(found["false_alarms"]), "of", "5", "good", "photos"] in lines
    assert ["misses", str(found["misses"]), "of", "8", "defects"] in lines
    assert sum(line[0] in found["kinds"] for line in lines) == 4


def test_the_threshold_decides_alarms_and_nothing_else(model_path, drawn):
    strict, lax = (
        json.loads(run("evaluate", model_path, drawn, "--json", "--threshold", value).stdout)
        for value in ("0", "1e6")
    )
    assert (strict["false_alarms"], strict["misses"], lax["false_alarms"], lax["misses"]) == (5, 0, 0, 8)
    assert strict["image_roc_auc"] == lax["image_roc_auc"] and strict["pixels"] == lax["pixels"]


def test_without_masks_there_are_no_pixels(model_path, parts):
    shutil.rmtree(parts / "ground_truth")
    shutil.rmtree(parts / "train")
    assert json.loads(run("evaluate", model_path, parts, "--json").stdout)["pixels"] is None
    assert "Pixels: not without masks" in run("evaluate", model_path, parts).stdout


def test_photos_that_cannot_be_read_are_left_out_and_named(model_path, parts, drawn):
    (parts / "test" / "good" / "bad.png").write_text("no photo")
    result = run("evaluate", model_path, parts, "--json", status=2)
    found = json.loads(result.stdout)
    whole = json.loads(run("evaluate", model_path, drawn, "--json").stdout)
    assert found["unreadable"] == 1 and "bad.png" in result.stderr
    assert found["image_roc_auc"] == whole["image_roc_auc"] and found["good"] == 5


def test_of_one_kind_of_photos_there_is_no_curve(model_path, parts):
    for folder in (parts / "test").iterdir():
        if folder.name != "good":
            shutil.rmtree(folder)
    found = json.loads(run("evaluate", model_path, parts, "--json").stdout)
    assert found["image_roc_auc"] is found["average_precision"] is found["pixels"] is None


def test_what_crop_size_cut_away_does_not_count(drawn, tmp_path):
    run("fit", drawn, "-o", tmp_path / "m.skpadim", "--image-size", "64", "--crop-size", "48")
    found = json.loads(run("evaluate", tmp_path / "m.skpadim", drawn, "--json").stdout)
    from skpadim.model_file import load_model

    photos = load_inspection_folder(drawn)
    maps = load_model(tmp_path / "m.skpadim").detector.anomaly_map(photos.X_test)
    masks = [np.zeros((64, 64), bool) if mask is None else read_mask(mask) for mask in photos.masks_test]
    inner = np.array(masks)[:, 8:56, 8:56]
    assert found["pixels"]["roc_auc"] == pytest.approx(roc_auc_score(inner.ravel(), maps.ravel()))


def test_folders_of_another_layout_are_refused(model_path, drawn):
    result = run("evaluate", model_path, drawn / "train", status=2)
    assert "a folder 'good' and one for each defect" in result.stderr


def test_of_moved_photos_what_is_out_of_sight_counts_as_good(drawn, tmp_path):
    run("fit", drawn, "-o", tmp_path / "m.skpadim", "--image-size", "64", "--align", "rigid")
    found = json.loads(run("evaluate", tmp_path / "m.skpadim", drawn, "--json").stdout)
    photos, detector = load_inspection_folder(drawn), load_model(tmp_path / "m.skpadim").detector
    maps = detector.inspect(photos.X_test, maps=True, original_size=True)
    masks = [np.zeros((64, 64), bool) if mask is None else read_mask(mask) for mask in photos.masks_test]
    assert any(np.isnan(one.map).any() for one in maps)
    marked, scores = [], []
    for one, mask in zip(maps, masks, strict=True):
        rows, columns = (np.flatnonzero(np.isfinite(one.map).any(axis=axis)) for axis in (1, 0))
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        marked.append((mask & np.isfinite(one.map))[window].ravel())
        scores.append(np.nan_to_num(one.map)[window].ravel())
    expected = roc_auc_score(np.concatenate(marked), np.concatenate(scores))
    assert found["pixels"]["roc_auc"] == pytest.approx(expected)
    assert 0 < found["pixels"]["pro"] <= 1

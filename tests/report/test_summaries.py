"""Counts, kinds, checks and the card."""

from __future__ import annotations

import math

import numpy as np
import pytest

from skpadim.calibration import conformal_threshold
from skpadim.report.parts import Entry
from skpadim.report.summaries import (
    camera_checks,
    count_verdicts,
    expected_false_alarm_rate,
    kinds,
    model_facts,
    training_outliers,
)


@pytest.fixture(scope="module")
def entries():
    rng = np.random.default_rng(5)
    names = ["good", "dent", "scratch", None]
    return [
        Entry(f"{number}.png", float(rng.gamma(4)), 0.5, kind=names[number % 4]) for number in range(41)
    ] + [Entry("broken.png", math.nan, math.nan, kind="dent", error="It is broken.")]


@pytest.mark.parametrize("threshold", [0.0, 3.0, 4.5, 100.0])
def test_counts_are_plain_counts(entries, threshold):
    found = count_verdicts(entries, threshold)
    scores = np.array([entry.score for entry in entries])
    names = np.array([str(entry.kind) for entry in entries])
    is_read = ~np.isnan(scores)
    is_defective = np.isin(names, ["dent", "scratch"]) & is_read
    assert found.photos == 42
    assert found.errors == 1
    assert found.anomalies == np.sum(scores > threshold)
    assert found.good == np.sum(scores <= threshold)
    assert (found.defective, found.known_good) == (is_defective.sum(), np.sum(names == "good"))
    assert found.missed == np.sum(is_defective & (scores <= threshold))
    assert found.false_alarms == np.sum((names == "good") & (scores > threshold))


def test_a_score_at_the_threshold_is_good():
    assert count_verdicts([Entry("a", 2.0, 0.5)], 2.0).anomalies == 0


def test_kinds_have_their_photos_and_median(entries):
    found = kinds(entries, 4.0)
    assert [kind.name for kind in found] == ["good", "dent", "scratch"]
    for kind in found:
        scores = [entry.score for entry in entries if entry.kind == kind.name and entry.error is None]
        assert (kind.photos, kind.above) == (len(scores), sum(score > 4 for score in scores))
        assert kind.median == pytest.approx(np.median(scores))


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1, 0.5])
def test_the_expected_rate_is_that_of_the_conformal_threshold(rate):
    scores = np.random.default_rng(0).gamma(4, size=199)
    assert expected_false_alarm_rate(scores, conformal_threshold(scores, rate)) == pytest.approx(rate)
    assert expected_false_alarm_rate(scores, math.inf) == 1 / 200


def test_checks_are_collected_by_name():
    bright, dark = (0.9, 0.2, 0.5), (0.1, 0.2, 0.5)
    entries = [
        Entry("0", 1.0, 0.5, outside={"white": (0.3, 0.0, 0.1)}),
        Entry("1", 1.0, 0.5),
        Entry("2", 1.0, 0.5, outside={"brightness": bright}),
        Entry("3", 1.0, 0.5, outside={"brightness": dark}),
    ]
    first, second = camera_checks(entries)
    assert (first.name, first.indices, first.values) == ("brightness", [2, 3], [0.9, 0.1])
    assert (first.low, first.high) == (0.2, 0.5)
    assert (second.name, second.indices) == ("white", [0])
    assert count_verdicts(entries, 2.0).unusual == 3


def test_outliers_of_the_training_set_are_the_highest_leave_one_out_scores(detector):
    highest = np.argsort(-detector.loo_scores_)[:12]
    found = training_outliers({}, detector, {})
    assert [one.score for one in found] == detector.loo_scores_[highest].tolist()
    assert [one.name for one in found] == [f"training photo {detector.loo_indices_[at]}" for at in highest]
    rows = [
        {"path": "b.png", "loo_score": 2.0},
        {"path": "a.png", "loo_score": 3.0, "thumbnail": "training/000.jpg"},
        {"path": None, "index": 7, "loo_score": 1.0, "thumbnail": None},
    ]
    found = training_outliers({"training": rows}, detector, {"training/000.jpg": b"picture"})
    assert [one.name for one in found] == ["a.png", "b.png", "training photo 7"]
    assert [one.thumbnail for one in found] == [b"picture", None, None]


def test_what_the_card_lacks_is_taken_from_the_detector(detector):
    facts = dict(model_facts({}, detector))
    assert facts["network"] == "resnet18"
    assert facts["layers"] == "layer1, layer2"
    assert (facts["photos learned"], facts["channels"]) == ("30", "12")
    assert facts["input size"] == "64 by 64 pixels"
    assert facts["threshold"] == f"{-detector.offset_:.6g}"
    assert facts["false-alarm rate asked for"] == "5 %"
    assert facts["versions"].startswith("skpadim ")
    assert "digest" not in facts
    card = {"name": "line 3", "digest": "abc", "network": "mine", "false_alarm_rate": None}
    facts = dict(model_facts(card, detector))
    assert (facts["name"], facts["digest"], facts["network"]) == ("line 3", "abc", "mine")
    assert facts["false-alarm rate asked for"] == "none, the threshold was set"


def test_what_was_decided_of_photos_is_a_fact(detector):
    assert dict(model_facts({}, detector))["parts"] == "taken as they lie"
    card = {"align": "rigid", "align_by_auto": True, "patch_stride": 16, "ignore": True, "n_groups": 5}
    facts = dict(model_facts(card, detector))
    assert facts["parts"].endswith('as align="auto" decided') and facts["patches"] == "at least 16 px apart"
    assert facts["ignored"] == "a region of all aligned photos" and facts["groups"].startswith("5, each left")

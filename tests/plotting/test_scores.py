"""Pictures of scores: what is drawn, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from skpadim import PaDiMDetector, PatchGaussian, ScoreDisplay

matplotlib = pytest.importorskip("matplotlib")
plt = pytest.importorskip("matplotlib.pyplot")


def test_score_display_shows_every_score_and_the_threshold(line):
    photos, detector = line
    display = ScoreDisplay.from_estimator(detector, photos.X_test, photos.y_test, s=12)
    scores = -detector.score_samples(photos.X_test)
    expected = [detector.loo_scores_, scores[:2], scores[2:]]
    for row, (dots, group) in enumerate(zip(display.ax_.collections, expected, strict=True)):
        positions, heights = dots.get_offsets().T
        assert_array_equal(positions, np.sort(group))
        assert np.abs(heights - row).max() < 0.31
        assert dots.get_sizes() == [12]
    assert_array_equal(display.line_.get_xdata(), [-detector.offset_] * 2)
    n_alarms = [(detector.predict(photos.X_test[part]) == -1).sum() for part in (slice(2), slice(2, 4))]
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels[1:] == [
        f"unseen good\n{n_alarms[0]} of 2 above",
        f"unseen defective\n{n_alarms[1]} of 2 above",
    ]
    figure, ax = plt.subplots()
    assert display.plot(ax).figure_ is figure
    assert display.ax_ is ax


def test_score_display_needs_a_fitted_detector(line):
    photos, _ = line
    with pytest.raises(NotFittedError):
        ScoreDisplay.from_estimator(PaDiMDetector(), photos.X_test, photos.y_test)
    with pytest.raises(TypeError, match="estimator is a Ridge, which has no loo_scores_"):
        ScoreDisplay.from_estimator(Ridge().fit([[0.0], [1.0]], [0, 1]), photos.X_test, photos.y_test)


def test_score_display_needs_leave_one_out_scores():
    features = np.random.default_rng(0).normal(size=(40, 3))
    gaussian = PatchGaussian(false_alarm_rate=0.1).fit(features[:30])
    gaussian.loo_scores_ = np.empty(0)  # as one that was learned elsewhere
    with pytest.raises(TypeError, match="estimator is a PatchGaussian, which has no loo_scores_"):
        ScoreDisplay.from_estimator(gaussian, features[30:], np.ones(10))


def test_score_display_draws_a_step_of_a_pipeline_and_groups_without_members():
    features = np.random.default_rng(0).normal(size=(40, 3))
    gaussian = PatchGaussian(false_alarm_rate=0.1).fit(features[:30])
    display = ScoreDisplay.from_estimator(gaussian, features[30:], np.ones(10))
    sizes = [len(dots.get_offsets()) for dots in display.ax_.collections]
    assert sizes == [30, 10, 0]


def test_every_kind_of_defect_has_a_row():
    names = ["dent", "good", "a $ b", "dent", "good"]
    display = ScoreDisplay.from_scores([1.0, 2.0], [5.0, 1.0, 4.0, 1.5, 2.0], names, 3.0)
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == [
        "leave-one-out\n0 of 2 above",
        "unseen good\n0 of 2 above",
        "unseen dent\n1 of 2 above",
        "unseen a $ b\n1 of 1 above",
    ]
    positions = [dots.get_offsets()[:, 0].tolist() for dots in display.ax_.collections]
    assert positions == [[1.0, 2.0], [1.0, 2.0], [1.5, 5.0], [4.0]]
    assert display.to_pil(50).size == tuple(np.rint(50 * display.figure_.get_size_inches()).astype(int))


@pytest.mark.parametrize(
    ("style", "faces", "edges"),
    [
        ({"ec": "black"}, ["none", "#0072b2", "#d55e00"], ["black"] * 3),
        ({"edgecolor": "black"}, ["none", "#0072b2", "#d55e00"], ["black"] * 3),
        ({"facecolors": "red"}, ["red"] * 3, ["#0072b2", "#0072b2", "#d55e00"]),
        ({"c": "red"}, ["none", "red", "red"], ["red"] * 3),
        ({"color": "red"}, ["none", "red", "red"], ["red"] * 3),
    ],
)
def test_colours_are_the_callers_by_any_of_their_names(style, faces, edges):
    display = ScoreDisplay.from_scores([1.0, 2.0], [1.0, 2.0], [1, -1], 1.5, **style)
    for dots, face, edge in zip(display.ax_.collections, faces, edges, strict=True):
        assert_allclose(dots.get_facecolor(), matplotlib.colors.to_rgba_array(face))
        assert_allclose(dots.get_edgecolor(), matplotlib.colors.to_rgba_array(edge))


def test_equal_scores_stay_apart():
    display = ScoreDisplay.from_scores(np.ones(50), np.ones(50), np.ones(50), 1.0)
    heights = np.sort(display.ax_.collections[0].get_offsets()[:, 1])
    assert np.diff(heights).min() > 0.005
    assert_allclose(heights.mean(), 0, atol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": np.inf}, "threshold is inf"),
        ({"scores": [[1.0]]}, r"scores must be finite .* got shape \(1, 1\)"),
        ({"loo_scores": [np.nan]}, "loo_scores must be finite"),
        ({"y": [1]}, r"y has shape \(1,\), expected \(2,\)"),
        ({"y": [0, 1]}, r"y\[0\] is 0, expected \+1 for a good or -1"),
        ({"y": [True, True]}, r"y\[0\] is True, expected \+1"),
    ],
)
def test_scores_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ScoreDisplay.from_scores(
            **({"loo_scores": [1.0], "scores": [1.0, 2.0], "y": [1, -1], "threshold": 1.5} | change)
        )


def test_matplotlib_is_imported_only_to_draw():
    script = """
import sys, skpadim
assert "matplotlib" not in sys.modules
sys.modules["matplotlib"] = None
try:
    skpadim.ScoreDisplay.from_scores([1.0], [1.0], [1], 1.0)
except ImportError as error:
    assert "ScoreDisplay.from_scores requires matplotlib" in str(error), error
else:
    raise AssertionError("no error")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)

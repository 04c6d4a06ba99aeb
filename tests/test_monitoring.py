"""A line that watches itself: its promise, what it notices, its files, and what it refuses."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from skpadim import PatchGaussian
from skpadim.camera import Outside, PhotoCheck, camera_ranges, check_photos
from skpadim.datasets import make_inspection_images
from skpadim.monitoring import LineMonitor, LineState
from test_evidence import plain_capital

N_LEARNED = 99


@pytest.fixture(scope="module")
def gaussian():
    fitted = PatchGaussian().fit(np.random.default_rng(0).normal(size=(100, 3)))
    # As a PaDiMDetector that learned from as many photos has; how many is all that matters here.
    fitted.photo_statistics_ = np.ones((N_LEARNED, 9))
    return fitted


def draw(n, seed=0, factor=1.0):
    return factor * np.random.default_rng(seed).gamma(20, size=n)


def checks(is_unusual):
    return [
        PhotoCheck(index, {"brightness": Outside(0.1, 0.4, 0.6)} if unusual else {})
        for index, unusual in enumerate(is_unusual)
    ]


def watched(gaussian, *, seed=0, **params):
    """Return a monitor whose reference has the distribution that `draw` draws from."""
    return LineMonitor(gaussian, reference=draw(100, seed=1000 + seed), **params)


def test_evidence_against_the_plain_formula(gaussian):
    """All scores differ, so that ties decide little: p-values are known within one rank."""
    scores = [*draw(20, seed=3), *draw(15, seed=4, factor=1.4)]
    monitor, seen = watched(gaussian), list(draw(100, seed=1000))
    factors = {"least": [], "most": []}
    for score in scores:
        seen.append(score)
        n_higher, n = sum(other > score for other in seen), len(seen)
        ends = np.clip([n_higher / n, (n_higher + 1) / n], 1e-16, 1 - 1e-16)
        gains = np.array([[b * q ** (b - 1) for q in (1 - p, p) for b in (1.5, 3, 8)] for p in ends])
        factors["least"].append(gains.min(axis=0))
        factors["most"].append(gains.max(axis=0))
    evidence = monitor.update_many(scores).evidence
    low, high = (plain_capital(np.array(factors[end])) / 2 for end in ("least", "most"))
    assert 1 < low < evidence < high


def test_false_alarms_are_as_rare_as_promised(gaussian):
    """Of 150 lines with scores and checks, within the error of the simulation."""
    n_lines, alarm_at, alarms = 150, 10, 0
    for seed in range(n_lines):
        rng = np.random.default_rng(seed)
        monitor = watched(gaussian, seed=seed, alarm_at=alarm_at, check_rate=0.05, random_state=seed)
        deviations = rng.normal(size=N_LEARNED + 100)
        end = np.sort(deviations[:N_LEARNED])[-5]
        alarms += monitor.update_many(draw(100, seed), checks(deviations[N_LEARNED:] > end)).drifted
    assert alarms / n_lines < 1 / alarm_at + 3 * math.sqrt(1 / alarm_at / n_lines)


@pytest.mark.parametrize(("factor", "direction"), [(1.5, "higher"), (0.7, "lower")])
def test_shifts_are_noticed_in_their_direction(gaussian, factor, direction):
    for seed in range(5):
        monitor = watched(gaussian, seed=seed)
        assert not monitor.update_many(draw(200, seed)).drifted
        state = monitor.update_many(draw(60, seed + 50, factor))
        assert state.drifted
        assert (state.noticed_by, state.direction) == ("score", direction)
        assert 200 <= state.first_alarm < 260
        assert f"noticed at photo {state.first_alarm}: score is {direction}" in str(state)
        # Once said, it stays, and when and why do, too.
        later = monitor.update_many(draw(300, seed + 70))
        assert later.drifted
        assert (later.first_alarm, later.direction) == (state.first_alarm, direction)


def test_unusual_photos_are_noticed_whatever_their_scores(gaussian):
    monitor = watched(gaussian)
    is_unusual = [number % 50 == 40 for number in range(100)] + [True] * 20
    state = monitor.update_many(draw(120), checks(is_unusual))
    assert (state.drifted, state.noticed_by, state.direction) == (True, "check", None)
    assert 100 <= state.first_alarm < 115
    assert (state.n_checked, state.n_unusual) == (120, 22)
    assert "too many photos look unusual" in str(state)
    assert "22 of 120 checked look unusual" in str(state)


def test_evidence_of_checks_against_the_plain_formula(gaussian):
    """Of 99 learned photos one ends the ranges at a rate of 0.01, and five do at 0.05."""
    is_unusual = np.array([0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1], dtype=bool)
    for rate, n_beyond in ((0.01, 1), (0.05, 5)):
        monitor, factors, n_unusual = watched(gaussian, check_rate=rate), [], n_beyond
        for n_before, unusual in enumerate(is_unusual):
            expected = n_unusual / (100 + n_before)
            shares = expected + (1 - expected) * np.array([0.1, 0.5, 0.9])
            factors.append(shares / expected if unusual else (1 - shares) / (1 - expected))
            n_unusual += unusual
        monitor.update_many(draw(13), checks(is_unusual))
        assert monitor.state.evidence == pytest.approx(plain_capital(np.array(factors)) / 22)


def test_checks_that_complain_of_the_score_alone_are_not_unusual(gaussian):
    check = PhotoCheck(0, {"score": Outside(0.1, 0.4, np.inf)})
    assert watched(gaussian).update(20.0, check).n_unusual == 0
    both = PhotoCheck(0, check.outside | {"width": Outside(1, 2, 3)})
    assert watched(gaussian).update(20.0, both).n_unusual == 1


@pytest.mark.parametrize(("factor", "direction"), [(2, "higher"), (0.5, "lower")])
def test_what_photos_look_like_is_watched_as_scores_are(factor, direction):
    """Light within the ranges of all good photos is noticed where all photos have it; scores stay."""
    rng = np.random.default_rng(0)
    fitted = PatchGaussian().fit(rng.normal(size=(100, 3)))
    light = np.exp(rng.normal(-1, 0.4, 300))
    fitted.photo_statistics_ = np.column_stack([np.full((300, 3), 8), light, np.ones((300, 5))])[:100]
    monitor = watched(fitted)
    for before, now in ((True, light[100:200]), (False, factor * light[200:])):
        seen = [
            PhotoCheck(n, {}, {"brightness": value, "width": 8.0}) for n, value in enumerate(now.tolist())
        ]
        assert monitor.update_many(draw(100, before), seen).drifted != before
    assert (monitor.state.noticed_by, monitor.state.direction) == ("brightness", direction)
    assert f"brightness is {direction}" in str(monitor.state)
    assert 105 <= monitor.state.first_alarm < 150
    assert monitor.state.n_unusual == 0


def test_false_alarms_by_looks_are_as_rare_as_promised(gaussian):
    """Of 50 lines with numbers that depend on each other, within the error of the simulation."""
    n_lines, alarm_at, alarms = 50, 3, 0
    for seed in range(n_lines):
        rng = np.random.default_rng(seed)
        common = rng.normal(size=(N_LEARNED + 60, 1))
        looks = np.exp(common + 0.1 * rng.normal(size=(N_LEARNED + 60, 9)))
        fitted = copy.copy(gaussian)
        fitted.photo_statistics_ = looks[:N_LEARNED]
        monitor = watched(fitted, seed=seed, alarm_at=alarm_at, random_state=seed)
        taken = check_photos(looks[N_LEARNED:], camera_ranges(looks[:N_LEARNED]))
        alarms += monitor.update_many(draw(60, seed), taken).drifted
    assert alarms / n_lines < 1 / alarm_at + 3 * math.sqrt(1 / alarm_at / n_lines)


def test_rare_defects_are_no_drift(gaussian):
    for seed in range(20):
        scores = draw(400, seed)
        scores[np.random.default_rng(seed).random(400) < 0.03] *= 10
        assert not watched(gaussian, seed=seed).update_many(scores).drifted


def test_photo_by_photo_as_many_at_once(gaussian):
    scores, seen = draw(40), checks([False, True] * 20)
    together, single = watched(gaussian), watched(gaussian)
    for score, check in zip(scores, seen, strict=True):
        last = single.update(float(score), check)
    assert together.update_many(scores, seen) == last == single.state


def test_checks_belong_to_photos_by_their_index(gaussian):
    """Photos that were skipped have none."""
    scores = draw(4)
    scores[1] = np.nan
    state = watched(gaussian).update_many(scores, [*checks([False]), *checks([True] * 4)[2:]])
    assert (state.n_photos, state.n_unreadable, state.n_checked, state.n_unusual) == (4, 1, 3, 2)
    with pytest.raises(ValueError, match="checks are of photo 4, but there are 4 scores"):
        watched(gaussian).update_many(scores, checks([True] * 6))


def test_unreadable_photos_change_no_evidence(gaussian):
    scores = draw(30)
    plain = watched(gaussian).update_many(scores)
    with_gaps = watched(gaussian).update_many(np.insert(scores, [0, 7, 7], np.nan))
    assert with_gaps.evidence == plain.evidence
    assert (with_gaps.n_photos, with_gaps.n_unreadable) == (33, 3)


def test_seed_and_order_decide(gaussian):
    scores = draw(60, factor=1.3).round()
    runs = [watched(gaussian, random_state=seed).update_many(scores).evidence for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_reference_is_the_leave_one_out_scores(gaussian):
    new = 2 * gaussian.loo_scores_[:40]
    given = LineMonitor(gaussian, reference=gaussian.loo_scores_)
    assert LineMonitor(gaussian).update_many(new) == given.update_many(new)
    assert LineMonitor(gaussian, reference=[]).update_many(new) != given.state


def test_reset_begins_anew(gaussian):
    monitor = watched(gaussian)
    first = monitor.update_many(draw(30))
    monitor.update_many(draw(50, factor=2))
    assert monitor.state.drifted
    monitor.reset()
    assert monitor.state == LineState()
    assert monitor.update_many(draw(30)) == first


@pytest.mark.parametrize("n_before", [0, 30, 70])
def test_a_saved_monitor_goes_on_to_the_bit(gaussian, tmp_path, n_before):
    scores = np.concatenate([draw(60), draw(30, factor=1.6)])
    scores[5] = np.nan
    seen = checks(np.arange(90) % 45 == 0)
    monitor = watched(gaussian, alarm_at=50, check_rate=0.02, random_state=7)
    for score, check in zip(scores[:n_before], seen, strict=False):
        monitor.update(score, check)
    monitor.save(tmp_path / "line.json")
    loaded = LineMonitor.load(tmp_path / "line.json", gaussian)
    assert loaded.state == monitor.state
    for score, check in zip(scores[n_before:], seen[n_before:], strict=True):
        assert loaded.update(score, check) == monitor.update(score, check)
    assert monitor.state.drifted
    for again in (loaded, monitor):
        again.reset()
    assert loaded.update_many(scores) == monitor.update_many(scores)
    assert [path.name for path in tmp_path.iterdir()] == ["line.json"]


def test_evidence_beyond_all_floats_is_saved_as_json(gaussian, tmp_path):
    monitor = watched(gaussian)
    monitor.update_many(draw(1), checks([True]))
    monitor.update_many(20 * 1.1 ** np.arange(400))
    monitor.save(tmp_path / "line.json")
    content = json.loads((tmp_path / "line.json").read_text(), parse_constant=pytest.fail)
    assert content["state"]["evidence"] > 1e300
    assert LineMonitor.load(tmp_path / "line.json", gaussian).state == monitor.state


def test_a_failed_save_leaves_the_old_file(gaussian, tmp_path, monkeypatch):
    monitor, path = watched(gaussian), tmp_path / "line.json"
    monitor.save(path)
    before = path.read_text()
    monitor.update_many(draw(5))
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        monitor.save(path)
    assert path.read_text() == before
    assert [found.name for found in tmp_path.iterdir()] == ["line.json"]


def test_another_detector_is_refused(gaussian, tmp_path):
    watched(gaussian).save(tmp_path / "line.json")
    other = PatchGaussian().fit(np.random.default_rng(1).normal(size=(100, 3)))
    with pytest.raises(ValueError, match="line that another detector watched"):
        LineMonitor.load(tmp_path / "line.json", other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no file of a LineMonitor"),
        ("[1]", "is no file of a LineMonitor"),
        ('{"format": "other"}', "is no file of a LineMonitor"),
        ('{"format": "skpadim line monitor", "version": 1}', "without alarm_at, .*: delete it"),
        ('{"format": "skpadim line monitor", "version": 2}', "has version 2, and this skpadim reads up to 1"),
    ],
)
def test_other_files_are_refused(gaussian, tmp_path, text, message):
    (tmp_path / "line.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        LineMonitor.load(tmp_path / "line.json", gaussian)


@pytest.mark.parametrize(
    ("score", "error", "message"),
    [
        (-3.0, ValueError, r"score=-3.0 must be finite and at least 0: .*-detector.score_samples\(X\)"),
        (np.inf, ValueError, "score=inf must be finite"),
        ("3", TypeError, "score='3' must be a number"),
        (True, TypeError, "score=True must be a number"),
        (np.ones(2), TypeError, "must be a number"),
    ],
)
def test_bad_scores_are_not_taken(gaussian, score, error, message):
    monitor = watched(gaussian)
    with pytest.raises(error, match=message):
        monitor.update(score)
    assert monitor.state == LineState()


def test_one_bad_score_among_many_takes_none(gaussian):
    monitor = watched(gaussian)
    with pytest.raises(ValueError, match=r"scores\[1\]=-1.0"):
        monitor.update_many([3.0, -1.0])
    with pytest.raises(ValueError, match=r"shape \(n_photos,\), got \(1, 2\)"):
        monitor.update_many([[3.0, 1.0]])
    with pytest.raises(TypeError, match="check=False must be a PhotoCheck"):
        monitor.update(3.0, False)
    with pytest.raises(TypeError, match="check=None must be a PhotoCheck"):
        monitor.update_many([3.0, 3.0], [*checks([False]), None])
    assert monitor.state == LineState()


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"alarm_at": 1}, ValueError, r"alarm_at=1 must be in \(1, inf\)"),
        ({"alarm_at": "high"}, TypeError, "alarm_at='high' must be a number"),
        ({"check_rate": 0}, ValueError, r"check_rate=0 must be in \(0, 1\)"),
        ({"check_rate": True}, TypeError, "check_rate=True must be a number"),
        ({"reference": [1.0, np.nan]}, ValueError, "reference holds NaN"),
        ({"reference": [-1.0]}, ValueError, "reference=-1.0 must be finite and at least 0"),
    ],
)
def test_bad_parameters(gaussian, params, error, message):
    with pytest.raises(error, match=message):
        LineMonitor(gaussian, **params)


def test_checks_need_a_detector_that_learned_what_photos_look_like():
    plain = PatchGaussian().fit(np.random.default_rng(0).normal(size=(100, 3)))
    with pytest.raises(ValueError, match="did not learn what photos look like"):
        LineMonitor(plain).update(3.0, checks([True])[0])


def test_detectors_that_cannot_be_watched():
    with pytest.raises(NotFittedError):
        LineMonitor(PatchGaussian())
    with pytest.raises(TypeError, match="StandardScaler has no loo_scores_"):
        LineMonitor(StandardScaler().fit([[1.0], [2.0]]))


def test_states_are_frozen():
    with pytest.raises(FrozenInstanceError):
        LineState().n_photos = 3


def test_blur_on_drawn_photos(detector):
    """Blurred photos of good parts are noticed; as many as they are, are not."""
    good = make_inspection_images(0, 60, 0, image_size=64, random_state=5).X_test
    blurred = [Image.fromarray(photo).filter(ImageFilter.GaussianBlur(3)) for photo in good[30:]]
    monitor = LineMonitor(detector)
    assert not monitor.update_many(-detector.score_samples(good[:30]), detector.check(good[:30])).drifted
    state = monitor.update_many(-detector.score_samples(blurred), detector.check(blurred))
    assert state.drifted
    assert 30 <= state.first_alarm < 50


def test_scores_of_groups_left_out_are_no_reference():
    """New photos of an unchanged line score lower than these, and that is no drift."""
    rng = np.random.default_rng(0)
    features, line = rng.normal(size=(100, 30)), rng.normal(size=(300, 30))
    by_groups = PatchGaussian().fit(features, groups=np.arange(100) // 50)
    scores = -by_groups.score_samples(line)
    assert LineMonitor(by_groups, reference=by_groups.loo_scores_).update_many(scores).drifted
    assert not LineMonitor(by_groups).update_many(scores).drifted
    alone = LineMonitor(by_groups, reference=[])
    assert LineMonitor(by_groups).update_many(scores) == alone.update_many(scores)

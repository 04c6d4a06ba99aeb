"""What good photos look like: ranges against plain NumPy, their promise, and failures of a camera."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image, ImageFilter

from skpadim.camera import LOOKED_AT, camera_ranges, check_photos, score_range
from skpadim.datasets import make_inspection_images
from skpadim.images.collection import check_images
from skpadim.images.statistics import STATISTICS, photo_statistics

SIZE = 64
LOGARITHMS = {
    "height": 1,
    "width": 1,
    "aspect": 1e-9,
    "brightness": 1e-3,
    "contrast": 1e-3,
    "sharpness": 1e-9,
    "detail": 1e-6,
}
STEPS = dict.fromkeys(["brightness", "contrast", "sharpness", "detail"], 0.01)
STEPS |= {"saturation": 255**-0.5, "black": 0.001**0.5, "white": 0.001**0.5}


def measure(X, size=SIZE) -> np.ndarray:
    batches = check_images(X).batches(50, (size, size), None, n_threads=1)
    return np.concatenate([photo_statistics(batch.pixels, batch.original_sizes) for batch in batches])


def draw_statistics(n, seed, sides=(480, 480)) -> np.ndarray:
    """Statistics of all kinds: constant, mostly 0, skewed, dependent on each other."""
    rng = np.random.default_rng(seed)
    light = rng.normal(size=n)
    contrast = np.exp(0.2 * light - 2)
    height = rng.choice(sides, n)
    return np.column_stack(
        [
            height,
            np.full(n, 640),
            640 / height,
            0.4 + 0.05 * light,
            contrast,
            0.2 * contrast**2 * np.exp(0.1 * rng.normal(size=n)),
            np.zeros(n),
            np.maximum(0, rng.normal(-0.02, 0.01, n)),
            np.maximum(0, rng.standard_exponential(n) - 2) / 100,
        ]
    )


@pytest.fixture(scope="module")
def drawn():
    return make_inspection_images(120, 20, 20, image_size=SIZE)


@pytest.fixture(scope="module")
def ranges(drawn):
    return camera_ranges(measure(drawn.X_train))


def plain_unit(values, middle, everything, *, above, step) -> float:
    """Return the unit of a side: how far the outermost twentieth, rounded down, of the values begins."""
    sign = 1 if above else -1
    distances = sorted(sign * (value - middle) for value in values)
    unit = distances[len(values) - 1 - (len(values) - 1) // 20]
    if unit <= 0:
        unit = max(sign * (value - middle) for value in everything)
    return max(unit, step)


def plain_side(values, everything, step) -> tuple[float, float, float]:
    middle = sorted(values)[(len(values) - 1) // 2]
    return middle, *(
        plain_unit(values, middle, everything, above=above, step=step) for above in (False, True)
    )


def plain_ranges(statistics, n_beyond) -> np.ndarray:
    """Photo by photo, statistic by statistic."""
    columns = dict(zip(STATISTICS, np.asarray(statistics, dtype=float).T, strict=True))
    columns["detail"] = columns["sharpness"] / np.maximum(columns["contrast"], 1e-3) ** 2
    compared = {
        name: np.log(np.maximum(column, LOGARITHMS[name])) if name in LOGARITHMS else np.sqrt(column)
        for name, column in columns.items()
    }
    worst = []
    for photo in range(len(statistics)):
        deviations = []
        for name, values in compared.items():
            others = np.delete(values, photo)
            middle, below, above = plain_side(others, values, STEPS.get(name, 0))
            difference = values[photo] - middle
            deviations.append(abs(difference) / (below if difference < 0 else above) if difference else 0)
        worst.append(max(deviations))
    reach = max(1, sorted(worst)[-n_beyond])
    ends = []
    for name, values in compared.items():
        middle, below, above = plain_side(values, values, STEPS.get(name, 0))
        low, high = middle - reach * below, middle + reach * above
        if name in LOGARITHMS:
            ends.append((np.exp(low) if np.exp(low) > LOGARITHMS[name] else 0, np.exp(high)))
        else:
            ends.append((max(low, 0) ** 2, high**2))
    return np.array(ends)


@pytest.mark.parametrize(
    ("n", "rate", "n_beyond"), [(7, 0.01, 1), (60, 0.05, 3), (99, 0.01, 1), (199, 0.01, 2)]
)
def test_ranges_against_plain_numpy(n, rate, n_beyond):
    statistics = draw_statistics(n, seed=n, sides=(480, 481, 500))
    found = camera_ranges(statistics, rate)
    assert found.shape == (len(LOOKED_AT), 2)
    assert_allclose(found, plain_ranges(statistics, n_beyond), rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize(("n", "rate"), [(20, 0.05), (60, 0.05), (99, 0.01), (300, 0.05)])
def test_a_new_good_photo_is_rarely_outside(n, rate):
    """Of photos drawn as the good ones were, one in 1 / rate, within the error of the simulation."""
    shares = []
    for seed in range(150):
        statistics = draw_statistics(n + 200, seed)
        checks = check_photos(statistics[n:], camera_ranges(statistics[:n], rate))
        shares.append(np.mean([not check.ok for check in checks]))
    error = np.std(shares) / np.sqrt(len(shares))
    assert 0.5 * rate < np.mean(shares) < 1.15 * rate + 3 * error


def test_good_photos_pass_and_drawn_defects_too(drawn, ranges):
    checks = check_photos(measure(drawn.X_test), ranges)
    assert np.mean([check.ok for check in checks]) >= 0.9


def strip(image):
    return image.resize((3000, 30))


FAILURES = {
    "blurred": (lambda image: image.filter(ImageFilter.GaussianBlur(2)), {"sharpness", "detail"}),
    "half as bright": (lambda image: image.point(lambda value: value // 2), {"brightness", "contrast"}),
    "twice as bright": (
        lambda image: image.point(lambda value: min(255, 2 * value)),
        {"brightness", "white"},
    ),
    "saturated": (lambda image: image.point(lambda value: 255), {"brightness", "white"}),
    "covered": (lambda image: image.point(lambda value: 0), {"brightness", "black"}),
    "blank": (lambda image: image.point(lambda value: 128), {"contrast", "sharpness"}),
    "small": (lambda image: image.resize((SIZE // 8, SIZE // 8)), {"height", "width", "sharpness"}),
    "strip": (strip, {"height", "width", "aspect"}),
    "noise": (
        lambda image: Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype="u1")),
        {"sharpness", "detail"},
    ),
    "grey": (lambda image: image.convert("L"), {"saturation"}),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_failures_are_noticed(failure, drawn, ranges):
    fails, names = FAILURES[failure]
    X = [fails(Image.fromarray(image)) for image in drawn.X_test]
    for check in check_photos(measure(X), ranges):
        assert not check.ok
        assert names <= set(check.outside)


def test_sizes_that_never_differ_leave_no_room_and_one_pixel_does_no_harm():
    good = draw_statistics(50, seed=0)
    good[:, 7:] = 0
    found = camera_ranges(good)
    assert all(check.ok for check in check_photos(good, found))
    other = good[:4].copy()
    other[0, 0] += 1
    other[1, 1] -= 1
    other[2, 8] = 1e-5
    other[3, 8] = 0.3
    outside = [set(check.outside) for check in check_photos(other, found)]
    assert outside == [{"height"}, {"width"}, set(), {"white"}]


def test_blank_photos_among_the_good_are_within_their_own_ranges():
    good = draw_statistics(30, seed=0)
    good[:3, 4:6] = 0
    assert all(check.ok for check in check_photos(good, camera_ranges(good)))
    good[:, 4:6] = 0
    assert all(check.ok for check in check_photos(good, camera_ranges(good)))


def test_scores_too_good_to_be_true():
    rng = np.random.default_rng(0)
    assert score_range(np.arange(99.0, 0, -1), 0.05) == (5, np.inf)
    assert score_range(np.arange(5.0), 0.05) == (0, np.inf)
    shares = []
    for _ in range(400):
        scores = rng.gamma(4, size=80 + 100)
        shares.append((scores[80:] < score_range(scores[:80], 0.05)[0]).mean())
    assert_allclose(np.mean(shares), 4 / 81, rtol=0.1)


def test_score_is_told_beside_the_statistics():
    good = draw_statistics(50, seed=0)
    checks = check_photos(
        good[:2],
        camera_ranges(good),
        scores=np.array([3.0, 1.0]),
        score_range=(2.0, np.inf),
        indices=[4, 7],
    )
    assert [check.ok for check in checks] == [True, False]
    assert [str(check) for check in checks] == [
        "X[4]: as good photos",
        "X[7]: score 1 (good photos: 2 to inf)",
    ]
    assert checks[1].outside["score"].value == 1
    assert list(checks[0].values) == [*LOOKED_AT, "score"]
    assert list(checks[0].values.values())[:9] == good[0].tolist()
    assert checks[0].values["detail"] == pytest.approx(good[0, 5] / good[0, 4] ** 2)


def test_nan_is_outside():
    good = draw_statistics(50, seed=0)
    unknown = np.full((1, len(STATISTICS)), np.nan)
    (check,) = check_photos(unknown, camera_ranges(good))
    assert set(check.outside) == set(LOOKED_AT)


@pytest.mark.parametrize(
    ("statistics", "rate", "message"),
    [
        (np.zeros((2, 9)), 0.01, r"2 photo\(s\), but at least 3"),
        (np.zeros((5, 8)), 0.01, r"shape \(n_photos, 9\), got \(5, 8\)"),
        (np.zeros((5, 9)), 0.0, r"false_alarm_rate must be in \(0, 1\), got 0.0"),
        (np.zeros((5, 9)), 1, r"false_alarm_rate must be in \(0, 1\), got 1"),
    ],
)
def test_bad_input(statistics, rate, message):
    with pytest.raises(ValueError, match=message):
        camera_ranges(statistics, rate)


def test_real_tiles(shared_data):
    """Blurred tiles, of all sizes and lights, are told from those as they are."""
    folder = shared_data / "magnetic_tile"
    found = camera_ranges(measure(sorted((folder / "train" / "good").iterdir()), 224))
    test = [Image.open(path) for path in sorted((folder / "test" / "good").iterdir())]
    assert np.mean([check.ok for check in check_photos(measure(test, 224), found)]) > 0.9
    blurred = [image.filter(ImageFilter.GaussianBlur(6)) for image in test]
    assert not any(check.ok for check in check_photos(measure(blurred, 224), found))

"""Pictures of maps: what is drawn, on which scale, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from skpadim import AnomalyMapDisplay, PaDiMDetector, PatchGaussian

plt = pytest.importorskip("matplotlib.pyplot")

THRESHOLD = 2.0


@pytest.fixture
def drawn():
    """Two photos of different sizes, the maps over them, and the pixels above the threshold."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (20, 30, 3), dtype=np.uint8), rng.random((16, 12))]
    maps = [rng.uniform(0.5, 1.5, photo.shape[:2]) for photo in photos]
    maps[0][3:9, 0:12] = 2.5
    return photos, maps


def colours(axes):
    """Return the RGBA of the map that lies over a photo."""
    image = axes.images[1]
    return image.cmap(image.norm(image.get_array()))


def outlines(axes):
    """Return the vertices of every outline."""
    found = [part for part in axes.collections if not part.filled]
    return [np.concatenate([path.vertices for path in part.get_paths()]) for part in found]


def hatched(axes):
    return [part for part in axes.collections if part.filled and part.hatches != [None]]


def lies_around(vertices, mask):
    """Tell whether vertices run half a pixel off a mask's border, all around it."""
    margin = np.pad(mask, 1)
    border = (binary_dilation(margin) & ~binary_erosion(margin)).nonzero()
    distance = np.abs(vertices[:, None, ::-1] + 1 - np.transpose(border)[None]).max(axis=2)
    rim = np.transpose((margin & ~binary_erosion(margin)).nonzero())
    reached = np.abs(vertices[None, :, ::-1] + 1 - rim[:, None]).max(axis=2).min(axis=1)
    return distance.min(axis=1).max() <= 0.5 and reached.max() <= 0.5


def test_map_display_shows_the_detectors_maps_and_marks(line):
    photos, detector = line
    display = AnomalyMapDisplay.from_estimator(
        detector, photos.X_test, photos.y_test, masks=photos.masks_test, order="given"
    )
    scores, p_values = -detector.score_samples(photos.X_test), detector.p_values(photos.X_test)
    maps = detector.anomaly_map(photos.X_test, original_size=True)
    segments = detector.segment(photos.X_test, original_size=True)
    assert display.ax_.shape == (4, 2)
    assert display.threshold == -detector.offset_
    predicted = detector.predict(photos.X_test)
    assert {1, -1} == set(predicted), "the test sees both verdicts"
    titles = [["good", "defective"], ["no anomaly", "anomaly"]]
    for index, row in enumerate(display.ax_):
        assert row[0].get_title() == titles[0][int(photos.y_test[index] < 0)]
        numbers = f"score {scores[index]:.4g}, p {p_values[index]:.2g}"
        assert row[1].get_title() == f"{titles[1][int(predicted[index] < 0)]}\n{numbers}"
        assert_array_equal(row[0].images[0].get_array(), photos.X_test[index])
        shown = np.ma.filled(row[1].images[1].get_array(), np.nan)
        assert_array_equal(shown, np.minimum(maps[index], 2 * display.threshold))
        outlined = [mask for mask in (segments[index], photos.masks_test[index]) if mask.any()]
        for vertices, mask in zip(outlines(row[1]), outlined, strict=True):
            assert lies_around(vertices, mask)
        assert len(hatched(row[1])) == 1, "what crop_size cuts away"
    assert legend(display) == ["marked as anomalous", "true defect", "not looked at"]
    assert display.figure_.get_suptitle() == "", "all photos are shown"


def legend(display):
    return [text.get_text() for part in display.figure_.legends for text in part.get_texts()]


def test_of_many_photos_the_highest_scores_are_shown(line):
    photos, detector = line
    X = list(photos.X_test)
    scores = -detector.score_samples(X)
    display = AnomalyMapDisplay.from_estimator(
        detector, X, photos.defects_test, photos.masks_test, max_images=3
    )
    expected = np.argsort(-scores)[:3]
    assert_array_equal(display.indices, expected)
    assert_array_equal(display.scores, scores[expected])
    for row, index in zip(display.ax_, expected, strict=True):
        assert_array_equal(row[0].images[0].get_array(), X[index])
        assert row[0].get_title() == f"{index}: {photos.defects_test[index]}"
    assert display.figure_.get_suptitle() == "3 of 4 photos"
    first = AnomalyMapDisplay.from_estimator(detector, X, max_images=2, order="given")
    assert [axes.get_title() for axes in first.ax_[:, 0]] == ["image 0", "image 1"]


def test_maps_without_scores_are_ordered_by_their_peaks(drawn):
    photos, maps = drawn
    maps[1][2, 3], maps[0][0, 0] = 9.0, np.nan
    display = AnomalyMapDisplay.from_maps(photos, maps, THRESHOLD, y=["dent", "scratch"])
    assert [axes.get_title() for axes in display.ax_[:, 0]] == ["1: scratch", "0: dent"]
    assert [axes.get_title() for axes in display.ax_[:, 1]] == ["anomaly\npeak 9", "anomaly\npeak 2.5"]
    by_score = AnomalyMapDisplay.from_maps(photos, maps, THRESHOLD, scores=[3, 1], p_values=[0.25, 1])
    titles = [axes.get_title() for axes in by_score.ax_[:, 1]]
    assert titles == ["anomaly\nscore 3, p 0.25", "anomaly\nscore 1, p 1"]


def test_legend_names_only_what_is_there(drawn):
    photos, maps = drawn
    nothing = [np.ones_like(single) for single in maps]
    assert not AnomalyMapDisplay.from_maps(photos, nothing, THRESHOLD, masks=[None, None]).figure_.legends
    assert legend(AnomalyMapDisplay.from_maps(photos, maps, THRESHOLD)) == ["marked as anomalous"]
    nothing[0][0, 0] = np.nan
    assert legend(AnomalyMapDisplay.from_maps(photos, nothing, THRESHOLD)) == ["not looked at"]


def test_a_callers_figure_is_told_in_the_legend_how_many_photos_these_are(drawn):
    figure, single = plt.subplots()
    display = AnomalyMapDisplay.from_maps(*drawn, THRESHOLD, max_images=1, ax=single)
    assert figure.get_suptitle() == ""
    assert display.ax_[-1, 1].get_legend().get_title().get_text() == "1 of 2 photos"


def test_photo_shows_where_the_map_is_low():
    photo = np.random.default_rng(0).integers(0, 256, (1, 30, 30, 3), dtype=np.uint8)
    maps = np.zeros((1, 30, 30))
    maps[0, :, 15:] = 2 * THRESHOLD
    display = AnomalyMapDisplay.from_maps(photo, maps, THRESHOLD, alpha=0.6)
    opacities = display.ax_[0, 1].images[1].get_alpha()
    assert_array_equal(opacities, np.where(maps[0] > 0, 0.6, 0))
    assert_array_equal(display.ax_[0, 1].images[0].get_array(), photo[0])


def test_a_range_of_values_is_the_detectors(line):
    """A photo of 12 bits in 16 is shown, and mapped, as the detector reads it."""
    photos, _ = line
    deep = [photo.astype(np.uint16) * 16 for photo in photos.X_train]
    detector = PaDiMDetector(
        "squeezenet1_0", ("features.2",), weights=None, image_size=48, epsilon=1.0, value_range=12,
        false_alarm_rate=0.2,
    ).fit(deep)  # fmt: skip
    display = AnomalyMapDisplay.from_estimator(detector, deep[:2], order="given")
    assert_allclose(display.images[0], deep[0] / 4095, atol=1e-6)
    expected = detector.anomaly_map(deep[:2], original_size=True)
    assert_array_equal(display.maps, expected)


def test_figure_becomes_a_picture(drawn):
    display = AnomalyMapDisplay(*drawn, THRESHOLD)
    picture = display.to_pil(dpi=50)
    width, height = display.figure_.get_size_inches()
    assert picture.mode == "RGB"
    assert_allclose(picture.size, (50 * width, 50 * height), atol=1)
    assert np.asarray(picture).std() > 10, "something is drawn"


def test_threshold_has_one_colour_in_all_rows_whatever_the_maps(drawn):
    photos, maps = drawn
    for extreme in (1e30, np.inf):
        maps[0][0, 0], maps[0][0, 1] = extreme, np.nan
        maps[0][5, 5] = maps[1][5, 5] = THRESHOLD
        display = AnomalyMapDisplay.from_maps(photos, maps, THRESHOLD, order="given")
        display.figure_.canvas.draw()
        first, second = (colours(axes) for axes in display.ax_[:, 1])
        middle = plt.get_cmap("cividis")(0.5)
        assert_array_equal(first[5, 5], middle)
        assert_array_equal(second[5, 5], middle)
        assert_array_equal(first[0, 0], plt.get_cmap("cividis")(1.0))
        assert_array_equal(first[1, 1], plt.get_cmap("cividis")(maps[0][1, 1] / (2 * THRESHOLD)))
        assert display.ax_[0, 1].images[1].get_array().mask.sum() == 1
        assert len(hatched(display.ax_[0, 1])) == 1
        assert not hatched(display.ax_[1, 1])


def test_default_colours_grow_lighter_all_the_way():
    lightness = plt.get_cmap("cividis")(np.linspace(0, 1, 256))[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(lightness) > 0).all()


def pixel(axes, x, y):
    """Return the RGB in 0..255 that a drawn figure shows at a place of its axes."""
    picture = np.asarray(axes.figure.canvas.buffer_rgba())
    column, row = axes.transData.transform((x, y)).astype(int)
    return picture[len(picture) - 1 - row, column, :3].astype(float)


@pytest.mark.parametrize("alpha", [0.6, 0.9])
def test_colour_bar_shows_the_colours_of_the_map(alpha):
    values = np.array([0.1, 0.5, 1.0, 2.5, 3.9])
    photos = np.zeros((3, 10, 50), dtype=np.uint8) + np.array([0, 128, 255], dtype=np.uint8)[:, None, None]
    maps = np.broadcast_to(np.repeat(values, 10), photos.shape)
    display = AnomalyMapDisplay.from_maps(photos, maps, THRESHOLD, alpha=alpha, order="given")
    display.figure_.canvas.draw()
    shown = np.array([[pixel(axes, 10 * i + 4, 4) for i in range(5)] for axes in display.ax_[:, 1]])
    bar = np.array([pixel(display.colorbar_.ax, 0.5, value) for value in values])
    assert_allclose(shown[1], bar, atol=4)  # A bar of 256 steps, a few hundred pixels high.
    # Black and white photos are as far apart as what the map lets through.
    position = values / (2 * THRESHOLD)
    through = 1 - alpha * position**2 * (3 - 2 * position)
    assert_allclose(shown[2] - shown[0], np.repeat(255 * through[:, None], 3, axis=1), atol=3)


@pytest.mark.parametrize("threshold", [0.0, -3.0])
def test_any_finite_threshold_makes_a_scale(drawn, threshold):
    display = AnomalyMapDisplay.from_maps(*drawn, threshold)
    norm = display.ax_[0, 1].images[1].norm
    assert norm(threshold) == 0.5
    assert norm.vmin < norm.vmax


def test_outline_of_a_map_closes_at_the_border_and_leaves_the_view_alone(drawn):
    photos, maps = drawn
    display = AnomalyMapDisplay.from_maps(photos, maps, THRESHOLD)
    vertices, *others = outlines(display.ax_[0, 1])
    assert not others
    assert lies_around(vertices, maps[0] > THRESHOLD)
    assert vertices[:, 0].min() == -0.5
    assert not outlines(display.ax_[1, 1])
    assert display.ax_[0, 1].get_xlim() == display.ax_[0, 0].get_xlim() == (-0.5, 29.5)
    assert display.ax_[0, 1].get_ylim() == display.ax_[0, 0].get_ylim() == (19.5, -0.5)


def test_segments_and_names_may_be_given(drawn):
    photos, maps = drawn
    segments = [np.zeros(single.shape, dtype=bool) for single in maps]
    segments[1][4:7, 5:9] = True
    display = AnomalyMapDisplay.from_maps(
        photos, maps, THRESHOLD, segments=segments, y=["scratch", "dent"], order="given"
    )
    assert [axes.get_title() for axes in display.ax_[:, 0]] == ["scratch", "dent"]
    verdicts = [axes.get_title().split("\n")[0] for axes in display.ax_[:, 1]]
    assert verdicts == ["no anomaly", "anomaly"]
    assert lies_around(outlines(display.ax_[1, 1])[0], segments[1])


def test_names_are_no_formulas(drawn):
    names = ["a $ b", r"$\bad{$ or 20$"]
    display = AnomalyMapDisplay.from_maps(*drawn, THRESHOLD, y=names)
    display.figure_.canvas.draw()
    assert not any(axes.title.get_parse_math() for axes in display.ax_[:, 0])


def test_marks_are_decided_in_double_precision():
    threshold = float(np.float32(0.1))
    just_below = np.nextafter(threshold, 0)
    maps = np.full((1, 5, 5), threshold, dtype=np.float32)
    photos = np.zeros((1, 5, 5), dtype=np.uint8)
    assert AnomalyMapDisplay(photos, maps, just_below).segments[0].all()
    assert not AnomalyMapDisplay(photos, maps, threshold).segments[0].any()


def test_photos_are_shown_as_people_see_them(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    turned, exif = Image.fromarray(np.rot90(pixels).copy()), Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    clear = Image.new("RGBA", (12, 8), (9, 9, 9, 0))
    clear.putpixel((0, 0), (255, 255, 255, 255))
    grey16 = np.full((8, 12), 65535, dtype=np.uint16)
    images = [tmp_path / "turned.png", Image.fromarray(pixels), clear, grey16]
    display = AnomalyMapDisplay.from_maps(images, np.ones((4, 8, 12)), THRESHOLD)
    shown = [axes.images[0].get_array() for axes in display.ax_[:, 0]]
    assert_array_equal(shown[0], pixels)
    assert_array_equal(shown[1], pixels)
    assert_array_equal(shown[2], np.full((8, 12, 3), 255))
    assert_array_equal(shown[3], np.ones((8, 12, 3)))


def test_style_and_axes_are_the_callers(drawn):
    photos, maps = drawn
    figure, axes = plt.subplots(2, 2)
    display = AnomalyMapDisplay(photos, maps, THRESHOLD)
    assert display.plot(axes, cmap="viridis", alpha=0.25) is display
    assert display.figure_ is figure
    assert_array_equal(display.ax_, axes)
    assert axes[0, 1].images[1].cmap.name == "viridis"
    assert axes[0, 1].images[1].get_alpha().max() <= 0.25
    figure, single = plt.subplots()
    assert display.plot(single).figure_ is figure
    assert display.ax_.shape == (2, 2)
    figure, flat = plt.subplots(1, 2)
    AnomalyMapDisplay.from_maps(photos[:1], maps[:1], THRESHOLD, ax=flat)
    assert flat[1].images


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": np.nan}, "threshold is nan"),
        ({"threshold": None}, "threshold is None, expected a finite number"),
        ({"segments": [np.full((20, 30), 0.5), np.zeros((16, 12))]}, "other values than True and False"),
        ({"maps": [np.ones((20, 30))]}, "maps holds 1, expected one per image: 2"),
        (
            {"maps": [np.ones((20, 30)), np.ones((4, 4))]},
            r"maps\[1\] has shape \(4, 4\), its photo \(16, 12\)",
        ),
        ({"segments": [np.ones((20, 30))]}, "segments holds 1"),
        ({"masks": [None]}, "masks holds 1, expected one per image: 2"),
        ({"masks": [None, np.ones((3, 3))]}, r"masks\[1\] has shape \(3, 3\)"),
        ({"scores": [1.0]}, "scores holds 1, expected one per image: 2"),
        ({"scores": [1.0, np.nan]}, "scores must be finite"),
        ({"p_values": [1.0]}, "p_values holds 1, expected one per image: 2"),
        ({"max_images": 0}, "max_images is 0, expected a number of at least 1"),
        ({"order": "random"}, "order is 'random', expected 'score'"),
        ({"y": [1]}, r"y has shape \(1,\), expected \(2,\)"),
        ({"y": [1, 0]}, r"y\[1\] is 0, expected \+1 for a good or -1"),
        ({"y": [True, False]}, r"y\[0\] is True, expected \+1"),
        ({"ax": np.empty((3, 2), dtype=object)}, r"ax has shape \(3, 2\), expected \(2, 2\)"),
        ({"ax": np.empty((4, 1), dtype=object)}, r"ax has shape \(4, 1\), expected \(2, 2\)"),
        ({"images": np.zeros((4, 4))}, "single image"),
    ],
)
def test_what_does_not_match_is_refused(drawn, change, message):
    photos, maps = drawn
    with pytest.raises(ValueError, match=message):
        AnomalyMapDisplay.from_maps(**({"images": photos, "maps": maps, "threshold": THRESHOLD} | change))
    assert not plt.get_fignums()


def test_free_axes_cannot_be_divided(drawn):
    with pytest.raises(ValueError, match="free position"):
        AnomalyMapDisplay.from_maps(*drawn, THRESHOLD, ax=plt.figure().add_axes((0, 0, 1, 1)))


def test_map_display_needs_a_fitted_detector(line):
    photos, _ = line
    with pytest.raises(NotFittedError):
        AnomalyMapDisplay.from_estimator(PaDiMDetector(), photos.X_test, photos.y_test)
    gaussian = PatchGaussian().fit(np.random.default_rng(0).normal(size=(30, 3, 4, 4)))
    with pytest.raises(TypeError, match="estimator is a PatchGaussian, which draws no anomaly maps"):
        AnomalyMapDisplay.from_estimator(gaussian, photos.X_test)
    with pytest.raises(TypeError, match="estimator is a Ridge, which draws no anomaly maps of images"):
        AnomalyMapDisplay.from_estimator(Ridge(), photos.X_test)

"""A report, from inspections to the page."""

from __future__ import annotations

import json
import math
import os
import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from reports import Page, inspection, plain_photo
from skpadim.report import Report, write_report

CSP = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
EVERYTHING = {"maps": True, "masks": True, "regions": True, "checks": True, "original_size": True}


@pytest.fixture(scope="module")
def written(detector, photos, tmp_path_factory):
    """A page of the drawn photos, with their masks, and what there is to know of them."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(
        detector, photos.X_test, path, y=photos.defects_test, masks=photos.masks_test, title="Flanges"
    )
    return Page(path)


def cards(page):
    return [(attrs, text) for attrs, text in page.all("li", class_="card") if "data-number" in attrs]


def test_counts_are_those_of_predict(written, detector, photos):
    labels, y = detector.predict(photos.X_test), photos.y_test
    assert written.count("photos") == len(labels)
    assert written.count("good") == np.sum(labels == 1)
    assert written.count("anomalies") == np.sum(labels == -1)
    assert written.count("missed") == np.sum((labels == 1) & (y == -1))
    assert written.count("falseAlarms") == np.sum((labels == -1) & (y == 1))
    loo_scores, threshold = detector.loo_scores_, -detector.offset_
    assert written.count("looAbove") == np.sum(loo_scores > threshold)
    rate = (np.sum(loo_scores > threshold) + 1) / (len(loo_scores) + 1)
    assert written.count("expected") == pytest.approx(100 * rate, rel=0.005)
    assert written.count("unusual") == sum(not check.ok for check in detector.check(photos.X_test))


def test_the_table_of_kinds_is_right(written, detector, photos):
    scores = -detector.score_samples(photos.X_test)
    names = ["good", *sorted(set(photos.defects_test) - {"good"})]
    assert [text for _, text in written.all("th", scope="row")][: len(names)] == names
    cells = [text for _, text in written.all("td")]
    none = "\N{EN DASH}"
    for row, name in enumerate(names):
        n_photos, found, missed, false_alarms, median = cells[5 * row : 5 * row + 5]
        of_kind = scores[photos.defects_test == name]
        n_above = int(np.sum(of_kind > -detector.offset_))
        expected = [none, none, n_above] if name == "good" else [n_above, len(of_kind) - n_above, none]
        assert [found, missed, false_alarms] == [str(one) for one in expected]
        assert int(n_photos) == len(of_kind)
        assert float(median) == pytest.approx(np.median(of_kind), rel=1e-3)


def test_photos_are_sorted_by_score_and_say_it(written, detector, photos):
    scores = -detector.score_samples(photos.X_test)
    p_values = detector.p_values(photos.X_test)
    found = [int(attrs["data-number"]) for attrs, _ in cards(written)]
    assert found == np.argsort(-scores, kind="stable").tolist()
    for number, (_, text) in zip(found, cards(written), strict=True):
        assert f"score {scores[number]:.4g} p {p_values[number]:.2g}" in text
        assert ("anomaly" in text) == (scores[number] > -detector.offset_)
        assert f"labelled {photos.defects_test[number]}" in text


def test_the_data_of_the_script_is_complete(written, detector, photos):
    data = json.loads(written.all("script", id="data")[0][1])
    assert data["scores"] == (-detector.score_samples(photos.X_test)).tolist()
    assert data["loo"] == detector.loo_scores_.tolist()
    assert data["threshold"] == -detector.offset_
    names = ["loo", "good", *sorted(set(photos.defects_test) - {"good"})]
    assert [names[row] for row in data["rows"]] == photos.defects_test.tolist()
    assert data["roles"] == ["loo", "good", *["defect"] * (len(names) - 2)]


def test_outlines_boxes_and_regions_are_those_of_the_inspection(written, detector, photos):
    found = detector.inspect(photos.X_test, **EVERYTHING)
    boxes = [
        tuple(int(attrs[name]) for name in ("x", "y", "width", "height")) for attrs, _ in written.all("rect")
    ]
    order = [int(attrs["data-number"]) for attrs, _ in cards(written)]
    expected = [(r.left, r.top, r.width, r.height) for number in order for r in found[number].regions]
    assert boxes == expected
    assert len(written.all("g", class_="marked")) == sum(bool(one.mask.any()) for one in found)
    assert len(written.all("g", class_="truth")) == sum(np.any(mask) for mask in photos.masks_test)


def test_pictures_are_the_photos(written, photos):
    sources = [attrs["src"] for attrs, _ in written.all("img", class_="photo")]
    assert len(sources) == len(photos.X_test)
    number = int(cards(written)[0][0]["data-number"])
    shown = Image.open(BytesIO(b64decode(sources[0].removeprefix("data:image/jpeg;base64,"))))
    assert np.abs(np.asarray(shown.convert("RGB")).astype(int) - photos.X_test[number]).mean() < 5


def test_nothing_comes_from_elsewhere(written):
    for tag, attrs, text in written.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), (tag, attrs)
        if tag in ("style", "script"):
            assert not re.search(r"https?:|url\(|@import|fetch\(|import\(|XMLHttp", text)
    ((attrs, _),) = written.all("meta", http_equiv="Content-Security-Policy")
    assert attrs["content"] == CSP


HOSTILE = """</script><img src=x onerror=alert(1)> & "quoted" 'too' {{ 7 * 7 }}"""


def test_names_and_kinds_are_text_whatever_they_hold(detector, tmp_path):
    threshold = -detector.offset_
    card = {"name": HOSTILE, "training": [{"path": HOSTILE, "loo_score": 1.0}]}
    with Report(card, detector, title=HOSTILE) as report:
        outside = {HOSTILE: (1.0, 2.0, math.inf)}.items()
        one = inspection(0, 2 * threshold, threshold, path=f"a/{HOSTILE}", outside=outside)
        report.add(one, plain_photo(), kind=HOSTILE)
        report.add(inspection(1, 0, threshold, path="b/\udce9\n.png", error=HOSTILE), None)
        report.write(tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert len(page.all("script")) == 2
    assert len(page.all("img")) == 2
    assert not any(name.startswith("on") for _, attrs, _ in page.elements for name in attrs)
    assert page.all("h1")[0][1] == page.all("title")[0][1] == HOSTILE
    attrs, text = cards(page)[0]
    assert (attrs["data-path"], attrs["data-kind"]) == (f"a/{HOSTILE}", HOSTILE)
    assert f"{HOSTILE} 1 (good photos: at least 2)" in text
    assert HOSTILE in page.all("section", id="failures")[0][1]
    assert "b/\\udce9" in page.all("section", id="failures")[0][1]
    json.loads(page.all("script", id="data")[0][1])


def test_why_a_photo_could_not_be_read_is_said_without_its_place_in_a_call(detector, tmp_path):
    with Report({}, detector) as report:
        error = "X[3] ('a.png') cannot be read."
        report.add(inspection(3, 0, -detector.offset_, path="a.png", error=error), None)
        report.write(tmp_path / "report.html")
    text = Page(tmp_path / "report.html").all("section", id="failures")[0][1]
    assert "cannot be read." in text and "X[3]" not in text


def test_500_photos_of_noise_take_15_mb_at_most(detector, tmp_path):
    """Nothing is harder to compress, and every mask is ragged."""
    threshold, size = -detector.offset_, (320, 256)
    rng = np.random.default_rng(0)
    with Report({}, detector) as report:
        for number in range(500):
            score = float(rng.gamma(4, threshold / 4))
            path = f"line/{HOSTILE[9:]}/{number:05}.png"
            noise = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            one = inspection(number, score, threshold, path=path, size=size, rng=rng)
            report.add(one, noise, kind=("good", "dent")[number % 2], mask=rng.random(size) > 0.5)
        report.write(tmp_path / "report.html")
    assert 5_000_000 < (tmp_path / "report.html").stat().st_size <= 15_000_000
    assert len(cards(Page(tmp_path / "report.html"))) == 500


def fill(report, found, photos, only):
    for number in only:
        if found[number].path not in report.paths:
            report.add(found[number], photos[number], kind="good" if number % 2 else None)


def without_date(path):
    return re.sub(r"Made [-\d]+ [:\d]+ UTC", "", path.read_text(encoding="utf-8"))


def test_an_interrupted_report_goes_on(detector, photos, tmp_path):
    paths = [str(tmp_path / f"{number}.png") for number in range(8)]
    for path, photo in zip(paths, photos.X_test[8:], strict=False):
        Image.fromarray(photo).save(path)
    found = detector.inspect(paths, **EVERYTHING)
    with Report({}, detector) as report:
        fill(report, found, photos.X_test[8:], range(8))
        report.write(tmp_path / "whole.html")
    report = Report({}, detector, folder_for_parts=tmp_path)
    fill(report, found, photos.X_test[8:], range(4))
    with open(report.parts_path, "r+b") as file:
        file.truncate(os.path.getsize(report.parts_path) - 100)  # as a power cut leaves it
    report = Report.resume(tmp_path / "report.parts", {}, detector)
    assert len(report) == 3
    assert report.paths == set(paths[:3])
    fill(report, found, photos.X_test[8:], range(8))
    report.write(tmp_path / "resumed.html")
    assert without_date(tmp_path / "resumed.html") == without_date(tmp_path / "whole.html")
    report.close()
    assert (tmp_path / "report.parts").exists(), "they are the caller's"


def test_temporary_parts_are_removed(detector):
    with Report({}, detector) as report:
        path = report.parts_path
        assert os.path.exists(path)
    assert not os.path.exists(path)


def test_a_page_that_cannot_be_written_leaves_the_old_one(detector, tmp_path, monkeypatch):
    def broken(source):
        yield "<!DOCTYPE html>"
        raise OSError("no space left on device")

    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr("skpadim.report.report.render", broken)
    with Report({}, detector) as report, pytest.raises(OSError, match="no space"):
        report.write(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_photos_that_cannot_be_read_are_told_of(detector, photos, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    skipping = type(detector)(**{**detector.get_params(), "on_error": "skip"})
    vars(skipping).update({name: value for name, value in vars(detector).items() if name.endswith("_")})
    X = [photos.X_test[0], str(broken), photos.X_test[1]]
    with pytest.warns(UserWarning, match="1 of 3 images"):
        write_report(skipping, X, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert (page.count("photos"), page.count("errors")) == (3, 1)
    assert page.count("good") + page.count("anomalies") == 2
    assert "cannot be read as an image" in page.all("section", id="failures")[0][1]
    assert [attrs["data-number"] for attrs, _ in cards(page)][-1] == "1"
    assert not page.all("section", id="kinds"), "nothing is labelled"
    with pytest.raises(ValueError, match="cannot be read"):
        write_report(detector, X, tmp_path / "report.html")


def test_an_infinite_score_is_the_highest(detector, tmp_path):
    threshold = -detector.offset_
    with Report({}, detector) as report:
        for number, score in enumerate([threshold / 2, math.inf]):
            report.add(inspection(number, score, threshold), plain_photo())
        report.write(tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert [attrs["data-number"] for attrs, _ in cards(page)] == ["1", "0"]
    text = page.all("script", id="data")[0][1]
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["scores"] == [threshold / 2, "Infinity"]


def test_thumbnails_of_training_photos_come_from_the_card(detector, tmp_path):
    picture = BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")
    rows = [
        {"path": f"good/{number}.png", "loo_score": 5.0 - number, "thumbnail": "training/000.jpg"}
        for number in range(20)
    ]
    thumbnails = {"training/000.jpg": picture.getvalue()}
    with Report({"training": rows}, detector, thumbnails=thumbnails) as report:
        report.add(inspection(0, 1.0, -detector.offset_), plain_photo())
        report.write(tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    shown = page.all("img", class_="plain")
    assert len(shown) == 12
    assert b64decode(shown[0][0]["src"].partition(",")[2]) == picture.getvalue()


def test_plus_and_minus_one_are_labels_too(detector, photos, tmp_path):
    write_report(detector, photos.X_test, tmp_path / "report.html", y=photos.y_test)
    page = Page(tmp_path / "report.html")
    labels = detector.predict(photos.X_test)
    assert page.count("missed") == np.sum((labels == 1) & (photos.y_test == -1))
    assert page.count("falseAlarms") == np.sum((labels == -1) & (photos.y_test == 1))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, -1], r"y has shape \(2,\), expected \(3,\)"),
        ([1, 0, 1], r"y\[1\] is 0, expected \+1 or -1, or names"),
        ([True, True, True], r"y\[0\] is True"),
    ],
)
def test_labels_that_are_none_are_refused(detector, photos, tmp_path, y, message):
    with pytest.raises(ValueError, match=message):
        write_report(detector, photos.X_test[:3], tmp_path / "report.html", y=y)
    assert not os.listdir(tmp_path)


def test_inspections_that_do_not_fit_are_refused(detector):
    threshold = -detector.offset_
    fitting = inspection(0, 1.0, threshold)
    with Report({}, detector) as report:
        with pytest.raises(ValueError, match=r"The threshold for X\[0\] is .* with one threshold"):
            report.add(inspection(0, 1.0, threshold + 1), plain_photo())
        with pytest.raises(ValueError, match=r"X\[0\] lacks its map, mask or regions: iter_inspect\(X, maps"):
            report.add(detector.inspect(np.zeros((1, 40, 60), dtype=np.uint8))[0], plain_photo())
        with pytest.raises(ValueError, match=r"The map of X\[0\] has shape \(40, 60\), its photo \(41, 60\)"):
            report.add(fitting, plain_photo((41, 60)))
        with pytest.raises(ValueError, match=r"The true mask of X\[0\] has shape \(2, 2\)"):
            report.add(fitting, plain_photo(), mask=np.ones((2, 2)))
        for photo in (None, np.zeros((40, 60), dtype=np.uint8), np.zeros((40, 60, 3), dtype=np.uint16)):
            with pytest.raises(ValueError, match=r"The photo of X\[0\] is .*expected an array"):
                report.add(fitting, photo)
        assert len(report) == 0

"""The page in a real browser: a headless Chromium, driven by Selenium."""

from __future__ import annotations

import json
import shutil
import types
from contextlib import contextmanager

import numpy as np
import pytest

from reports import inspection
from skpadim.report import Report

EVERYTHING = {"maps": True, "masks": True, "regions": True, "checks": True, "original_size": True}
BROKEN = "It cannot be read."


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Yield a driver of Chromium with a profile of its own."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium or no chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    profile = tmp_path_factory.mktemp("profile")
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={profile}")
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def shown(detector, photos, tmp_path_factory):
    """Write a page: photos of all kinds, one that could not be read, one that is unusual."""
    folder = tmp_path_factory.mktemp("page")
    found = list(detector.inspect(photos.X_test, **EVERYTHING))
    threshold = -detector.offset_
    unusual = inspection(22, 0.9 * threshold, threshold, size=(64, 64), outside=[("white", (0.5, 0.0, 0.1))])
    unreadable = inspection(23, 0, threshold, path="X[23]", error=BROKEN)
    kinds = [*photos.defects_test, "good", "good"]
    with Report({}, detector, title="Flanges") as report:
        for one, photo in zip(found, photos.X_test, strict=True):
            report.add(one, photo, kind=kinds[one.index])
        report.add(unusual, photos.X_test[0], kind="good")
        report.add(unreadable, None, kind="good")
        report.write(folder / "report.html")
    scores = np.array([one.score for one in found] + [unusual.score, np.nan])
    return types.SimpleNamespace(
        url=(folder / "report.html").as_uri(),
        scores=scores,
        kinds=np.array(kinds),
        loo=detector.loo_scores_,
        threshold=threshold,
        unusual={one.index for one in [*found, unusual] if not one.check.ok},
    )


@pytest.fixture
def page(browser, shown):
    """Open the page anew, 1280 pixels wide."""
    with emulated(browser, 1280, 900):
        browser.get(shown.url)
        yield browser


@contextmanager
def emulated(browser, width, height, **more):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics | more)
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def one(page, selector):
    return page.find_element("css selector", selector)


def every(page, selector):
    return page.find_elements("css selector", selector)


def settled(page):
    """Wait until verdicts of photos, which come with the next frame, are there."""
    page.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()));"
    )


def text_of(page, selector):
    return page.execute_script("return document.querySelector(arguments[0]).textContent", selector)


def texts(page, selector):
    script = "return [...document.querySelectorAll(arguments[0])].map((found) => found.textContent)"
    return page.execute_script(script, selector)


def now(page):
    return float(one(page, "#line").get_attribute("aria-valuenow"))


def check_counts(page, shown):
    """Compare all that the page counts with a plain count at the threshold it shows."""
    settled(page)
    threshold = now(page)
    is_read, is_above = ~np.isnan(shown.scores), shown.scores > threshold
    is_good = shown.kinds == "good"
    expected = {
        "photos": len(shown.scores),
        "good": np.sum(is_read & ~is_above),
        "anomalies": np.sum(is_above),
        "errors": 1,
        "unusual": len(shown.unusual),
        "missed": np.sum(is_read & ~is_good & ~is_above),
        "falseAlarms": np.sum(is_good & is_above),
        "looAbove": np.sum(shown.loo > threshold),
    }
    assert {name: int(text_of(page, f"[data-count={name}]")) for name in expected} == expected
    rate = 100 * (expected["looAbove"] + 1) / (len(shown.loo) + 1)
    assert float(text_of(page, "[data-count=expected]")) == pytest.approx(rate, rel=0.005)
    names = ["good", *sorted(set(shown.kinds) - {"good"})]
    above = [int(np.sum(is_above & (shown.kinds == name))) for name in names]
    assert list(map(int, texts(page, ".row [data-above]"))) == [expected["looAbove"], *above]
    assert list(map(int, texts(page, "td[data-above]"))) == above
    below = [int(np.sum(is_read & ~is_above & (shown.kinds == name))) for name in names[1:]]
    assert list(map(int, texts(page, "td[data-below]"))) == below
    verdicts = np.where(is_above, "anomaly", np.where(is_read, "good", "error"))
    for number, verdict in enumerate(verdicts):
        assert text_of(page, f"#photo-{number} .verdict b") == verdict
        assert text_of(page, f"[data-verdict='{number}']") == verdict
    assert text_of(page, "#line span") == f"{threshold:.4g}"


def drag(page, pointer, distance):
    """Take the line by its label and move it, by events of a mouse or a finger."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    page.execute_script("document.querySelector('#scores').scrollIntoView()")
    actions = ActionBuilder(page, mouse=PointerInput(pointer, pointer), duration=20)
    actions.pointer_action.move_to(one(page, "#line span")).pointer_down()
    for _ in range(4):
        actions.pointer_action.move_by(int(distance / 4), 0)
    actions.pointer_action.pointer_up()
    actions.perform()


@pytest.mark.parametrize("pointer", ["mouse", "touch"])
def test_dragging_the_threshold_recounts(page, shown, pointer):
    check_counts(page, shown)
    low, high = (float(one(page, "#line").get_attribute(f"aria-value{end}")) for end in ("min", "max"))
    width = one(page, ".area").rect["width"]
    is_log = json.loads(text_of(page, "#data"))["axis"]["isLog"]
    scale, unscale = (np.log, np.exp) if is_log else (float, float)
    before = int(text_of(page, "[data-count=anomalies]"))
    at = scale(shown.threshold)
    for distance in (240, -400):
        drag(page, pointer, distance)
        at = np.clip(at + distance / width * (scale(high) - scale(low)), scale(low), scale(high))
        # A pixel or two of the plot, as pointers stand on whole ones.
        assert scale(now(page)) == pytest.approx(at, abs=2 * (scale(high) - scale(low)) / width)
        assert unscale(at) > 0
        check_counts(page, shown)
        at = scale(now(page))
    assert int(text_of(page, "[data-count=anomalies]")) > before
    assert one(page, "#reset").is_enabled()
    one(page, "#reset").click()
    assert now(page) == shown.threshold
    check_counts(page, shown)


def test_keys_move_the_threshold(page, shown):
    from selenium.webdriver.common.keys import Keys

    line = one(page, "#line")
    assert line.get_attribute("role") == "slider"
    page.execute_script("arguments[0].focus()", line)
    places = [now(page)]
    for keys in ([Keys.ARROW_RIGHT], [Keys.PAGE_UP], [Keys.SHIFT, Keys.ARROW_UP], [Keys.END]):
        line.send_keys(*keys)
        places.append(now(page))
        check_counts(page, shown)
    assert places == sorted(set(places))
    assert int(text_of(page, "[data-count=anomalies]")) == 0
    line.send_keys(Keys.HOME)
    assert int(text_of(page, "[data-count=good]")) == 0
    check_counts(page, shown)
    line.send_keys(Keys.ARROW_RIGHT * 3)
    line.send_keys(Keys.ARROW_LEFT)
    said = line.get_attribute("aria-valuetext")
    assert said.startswith(f"threshold {now(page):.4g}, {text_of(page, '[data-count=anomalies]')} anomalies")
    check_counts(page, shown)


def test_a_number_sets_the_threshold(page, shown):
    from selenium.webdriver.common.keys import Keys

    field = one(page, "#threshold")
    for value in (np.median(shown.scores[:22]), shown.scores[:22].max(), 999.0):
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(repr(float(value)))
        assert now(page) == value
        check_counts(page, shown)


def test_a_score_at_the_threshold_is_no_alarm(page, shown):
    """The threshold is a leave-one-out score, to the last bit."""
    assert shown.threshold in shown.loo
    page.execute_script("document.querySelector('#threshold').dispatchEvent(new Event('change'))")
    assert now(page) == shown.threshold
    check_counts(page, shown)


def visible(page):
    script = """
        return [...document.querySelectorAll("#gallery > .card")].filter((card) => card.offsetParent)
            .map((card) => Number(card.dataset.number))"""
    return page.execute_script(script)


def test_filters_show_what_they_say(page, shown):
    from selenium.webdriver.support.select import Select

    is_above, is_good = shown.scores > shown.threshold, shown.kinds == "good"
    is_read = ~np.isnan(shown.scores)
    expected = {
        "anomaly": is_above,
        "good": is_read & ~is_above,
        "error": ~is_read,
        "unusual": np.isin(np.arange(24), list(shown.unusual)),
        "missed": is_read & ~is_above & ~is_good,
        "falseAlarm": is_above & is_good,
        "all": np.full(24, True),
    }
    for name, is_wanted in expected.items():
        page.execute_script("arguments[0].click()", one(page, f"[name=filter][value={name}]"))
        assert sorted(visible(page)) == np.flatnonzero(is_wanted).tolist(), name
        assert text_of(page, "#showing") == f"Showing {is_wanted.sum()} of 24 photos."
    Select(one(page, "#kind")).select_by_visible_text("scratch")
    assert sorted(visible(page)) == np.flatnonzero(shown.kinds == "scratch").tolist()
    Select(one(page, "#kind")).select_by_index(0)
    one(page, "#search").send_keys("x[1")
    assert sorted(visible(page)) == [1, *range(10, 20)]


def test_photos_are_sorted_as_wished(page, shown):
    from selenium.webdriver.support.select import Select

    rising = np.argsort(shown.scores[:23], kind="stable").tolist()
    assert visible(page) == [*rising[::-1], 23]
    Select(one(page, "#sort")).select_by_value("lowest")
    assert visible(page) == [*rising, 23]
    Select(one(page, "#sort")).select_by_value("name")
    assert visible(page) == list(range(24)), "2 comes before 10"


def opacity(page, selector):
    return float(
        page.execute_script("return getComputedStyle(document.querySelector(arguments[0])).opacity", selector)
    )


def test_maps_fade_in_all_photos_and_in_one(page):
    from selenium.webdriver.common.keys import Keys

    assert opacity(page, "#photo-3 .map") == 0.75
    one(page, "#fade").send_keys(Keys.HOME)
    assert opacity(page, "#photo-3 .map") == 0
    one(page, "#fade").send_keys(*[Keys.ARROW_RIGHT] * 10)
    assert opacity(page, "#photo-3 .map") == pytest.approx(0.1)
    one(page, "#gallery .open").click()
    one(page, "#viewer-fade").send_keys(Keys.END)
    assert opacity(page, "#viewer-photo .map") == 1
    assert opacity(page, "#photo-3 .map") == pytest.approx(0.1)


def test_a_photo_is_enlarged_by_keys_alone(page, shown):
    from selenium.webdriver.common.keys import Keys

    order = np.argsort(-shown.scores[:23], kind="stable")
    first = one(page, "#gallery .open")
    page.execute_script("arguments[0].focus()", first)
    first.send_keys(Keys.ENTER)
    assert one(page, "#viewer").is_displayed()
    assert text_of(page, "#viewer-name") == f"X[{order[0]}]"
    assert one(page, "#viewer-photo .boxes rect").is_displayed()
    assert f"score {shown.scores[order[0]]:.4g}" in text_of(page, "#viewer-facts")
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert text_of(page, "#viewer-name") == f"X[{order[1]}]"
    one(page, "#boxes").click()
    assert not every(page, "#viewer-photo .boxes rect")[0].is_displayed()
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not one(page, "#viewer").is_displayed()
    focused = page.execute_script("return document.activeElement.closest('.card').dataset.number")
    assert int(focused) == order[1]


@pytest.mark.parametrize("width", [375, 1280])
def test_no_width_makes_the_page_scroll_sideways(browser, shown, width):
    with emulated(browser, width, 812, mobile=width < 500):
        browser.get(shown.url)
        widths = browser.execute_script(
            "const root = document.documentElement; return [root.scrollWidth, root.clientWidth, innerWidth]"
        )
        assert widths[0] == widths[1] <= widths[2] == width
        # Verdicts and plot are what one sees at first.
        assert one(browser, ".tiles").rect["y"] < 200
        assert one(browser, "#line").rect["y"] < 450
        for selector in ("#line", "#threshold", "#gallery .card", ".toolbar"):
            box = browser.execute_script(
                "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
                "return [box.left, box.right]",
                selector,
            )
            assert 0 <= box[0] < box[1] <= width, selector


def test_nothing_is_loaded_and_nothing_complained_of(browser, shown):
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(shown.url)
    settled(browser)
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert urls.count(shown.url) == 1
    assert {url for url in urls if not url.startswith("data:")} == {shown.url}
    assert browser.get_log("browser") == []
    loaded = browser.execute_script(
        "return [...document.images].every((one) => one.complete && one.naturalWidth)"
    )
    assert loaded


def test_what_would_be_loaded_is_refused(browser, shown):
    """The page's policy holds, whatever a name smuggled in."""
    browser.get(shown.url)
    script = """
        const [done] = [arguments[0]], refused = [];
        document.addEventListener("securitypolicyviolation", (event) => {
            refused.push(event.effectiveDirective);
            if (refused.length === 3) done(refused);
        });
        const image = new Image();
        image.src = "http://127.0.0.1:9/a.png";
        const style = Object.assign(document.createElement("link"), {rel: "stylesheet", href: "http://127.0.0.1:9/"});
        const outside = Object.assign(document.createElement("script"), {src: "http://127.0.0.1:9/a.js"});
        document.head.append(image, style, outside);"""
    browser.set_script_timeout(20)
    refused = browser.execute_async_script(script)
    assert sorted(refused) == ["img-src", "script-src-elem", "style-src-elem"]
    browser.get_log("browser")


def test_without_scripts_the_page_stands_and_offers_nothing_that_needs_them(browser, shown):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(shown.url)
        assert one(browser, "[data-count=photos]").text == "24"
        assert len(every(browser, "#gallery .card")) == 24
        assert not [found for found in every(browser, ".scripted, dialog") if found.is_displayed()]
        assert one(browser, "#line span").text == "threshold"
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_on_paper_all_photos_stand_and_no_controls(page):
    page.execute_script("arguments[0].click()", one(page, "[name=filter][value=error]"))
    assert len(visible(page)) == 1
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert len(visible(page)) == 24
        assert not [found for found in every(page, ".scripted, nav") if found.is_displayed()]
        page.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert not every(page, "details:not([open])")
        page.execute_script("dispatchEvent(new Event('afterprint'))")
        assert not every(page, "details[open]")
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})

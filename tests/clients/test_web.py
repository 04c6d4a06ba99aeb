"""The page says what the detector says, from a folder and without a network, in headless Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest


@pytest.fixture(scope="module")
def page(installed):
    folder = installed("web")
    run = subprocess.run(["npm", "run", "vendor"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = [shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")]
    if not all(programs):
        pytest.skip("there are not both chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page, line):
    """The page with the model in it."""
    browser.get(page)
    browser.find_element("id", "model").send_keys(str(line.model))
    _wait(browser, "Now a photo.")
    return browser


def _wait(browser, message):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60, 0.05).until(
        lambda _: browser.find_element("id", "message").text == message,
        f'the page says "{browser.find_element("id", "message").text}"',
    )


def _show(browser, photo):
    browser.find_element("id", "photo").send_keys(photo)
    browser.execute_async_script("const done = arguments[0]; queue.then(done)")
    assert browser.find_element("id", "message").text == ""
    assert browser.find_element("id", "result").get_attribute("data-state") == "done"


def _number(browser, name):
    return float(browser.find_element("id", name).get_attribute("data-value"))


def _pixels(browser, strength):
    """The canvas's pixels, with the map over the photo as strongly as said, from 0 to 100."""
    script = """
        const slider = document.getElementById("strength"), canvas = document.getElementById("canvas");
        slider.value = arguments[0];
        slider.dispatchEvent(new Event("input"));
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.width, canvas.height, Array.from(data)];
    """
    width, height, values = browser.execute_script(script, strength)
    return np.reshape(values, (height, width, 4))[..., :3]


def test_verdicts_are_the_detector_s(line, opened):
    verdicts = []
    for photo, expected in line.verdicts.items():
        _show(opened, photo)
        word = opened.find_element("id", "verdict").text
        assert word == ("Anomalous" if expected["is_anomaly"] else "Good")
        numbers = opened.execute_script(
            "return [shown.detector.metadata.threshold, Array.from(shown.found.map.marked)]"
        )
        verdicts.append(
            {
                "photo": photo,
                "score": _number(opened, "score"),
                "is_anomaly": word == "Anomalous",
                "p_value": _number(opened, "p-value"),
                "threshold": numbers[0],
                "marked": np.mean(numbers[1]),
            }
        )
    line.check(verdicts)


def test_the_map_lies_over_the_photo_where_it_was_looked_at(line, opened):
    photo = next(path for path, verdict in line.verdicts.items() if verdict["is_anomaly"])
    _show(opened, photo)
    bare, under_map = _pixels(opened, 0), _pixels(opened, 100)
    changed = np.abs(bare - under_map).max(axis=2) > 20
    assert line.verdicts[photo]["marked"] / 2 < changed.mean() < 0.9
    rows, columns = np.nonzero(changed)
    # Of 128 x 128 pixels the network sees the middle 112 x 96; a line's width more is drawn.
    assert rows.min() >= 6 and rows.max() < 122 and columns.min() >= 14 and columns.max() < 114


def test_without_a_p_value_the_page_says_so(line, learned_elsewhere, opened):
    opened.find_element("id", "model").send_keys(str(learned_elsewhere))
    _show(opened, next(iter(line.verdicts)))
    assert opened.find_element("id", "p-value").text == "none"
    assert opened.find_element("id", "meaning").text.startswith("No p-value: this model does not know")
    assert "NaN" not in opened.find_element("id", "result").text


def test_files_are_taken_that_are_dropped(line, browser, page):
    browser.get(page)
    (photo, expected), *_ = line.verdicts.items()
    script = """
        const input = document.createElement("input");
        Object.assign(input, { type: "file", multiple: true, id: "dragged" });
        document.body.append(input);
    """
    browser.execute_script(script)
    browser.find_element("id", "dragged").send_keys(f"{line.model}\n{photo}")
    script = """
        const dataTransfer = new DataTransfer(), done = arguments[0];
        for (const file of document.getElementById("dragged").files) dataTransfer.items.add(file);
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        queue.then(done);
    """
    browser.execute_async_script(script)
    np.testing.assert_allclose(_number(browser, "score"), expected["score"], rtol=1e-4)


def test_what_is_no_model_and_no_photo_is_told(line, opened, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photo")
    opened.find_element("id", "photo").send_keys(str(broken))
    _wait(opened, '"broken.png" is not a photo that this browser can read.')
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(line.model.read_bytes()[:1000])
    opened.find_element("id", "model").send_keys(str(foreign))
    _wait(opened, "This is not an ONNX file, or it is cut short.")


@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_is_as_wide_as_the_window_and_asks_nobody(line, browser, page, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    for kind in ("performance", "browser"):  # What is read of a log is gone from it.
        browser.get_log(kind)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page)
    browser.find_element("id", "model").send_keys(str(line.model))
    _wait(browser, "Now a photo.")
    _show(browser, next(iter(line.verdicts)))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    asked = [request["request"]["url"] for request in sent]
    assert any(url == page for url in asked)
    assert all(url.startswith(("file:", "blob:", "data:")) for url in asked), asked
    assert browser.get_log("browser") == []
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

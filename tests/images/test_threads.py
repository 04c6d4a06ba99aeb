"""Files read ahead in threads: how far, in which order, and that every thread ends."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reading import SIZE, draw, no_stray_threads, pixels, read
from skpadim.images import decoding
from skpadim.images.collection import check_images
from skpadim.images.threads import map_ahead


class TestThreads:
    def test_one_batch_is_decoded_ahead_and_no_more(self, monkeypatch, files):
        opened = _record_opened(monkeypatch)
        batches = check_images(files).batches(4, SIZE, None, 2)
        assert not opened
        next(batches)
        _wait_for(lambda: len(opened) == 8)
        time.sleep(0.05)
        assert sorted(opened) == files[:8]
        next(batches)
        _wait_for(lambda: len(opened) == 12)
        batches.close()

    @pytest.mark.parametrize("batch_size", [1, 3, 20, 50])
    @pytest.mark.parametrize("n_threads", [1, 4])
    def test_order_and_end(self, files, batch_size, n_threads):
        with no_stray_threads():
            result = pixels(files, batch_size=batch_size, n_threads=n_threads)
        expected = [draw(*SIZE, 3, seed=index) for index in range(len(files))]
        np.testing.assert_array_equal(result, expected)

    def test_no_more_threads_than_asked_for(self, monkeypatch, files):
        opened, inside, most = _record_opened(monkeypatch), [], []
        original = decoding._as_seen

        def count(image):
            inside.append(image)
            most.append(len(inside))
            time.sleep(0.002)
            inside.remove(image)
            return original(image)

        monkeypatch.setattr(decoding, "_as_seen", count)
        read(files, n_threads=2)
        assert max(most) == 2
        assert threading.get_ident() not in opened.values()

    def test_closing_cancels_what_is_ahead(self, monkeypatch, files):
        opened = _record_opened(monkeypatch, seconds=0.02)
        batches = check_images(files).batches(8, SIZE, None, 1)
        next(batches)
        with no_stray_threads():
            batches.close()
        assert len(opened) <= 10

    def test_letting_go_ends_the_threads(self, files):
        batches = check_images(files).batches(2, SIZE, None, 2)
        next(batches)
        with no_stray_threads():
            del batches
            gc.collect()

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_an_error_of_the_consumer_ends_the_threads(self, files, error):
        def consume():
            for _ in check_images(files).batches(2, SIZE, None, 2):
                raise error

        # `caught` keeps the traceback, and so the suspended iterator, alive, as an interactive session does.
        with no_stray_threads(), pytest.raises(error) as caught:
            consume()
        assert caught.traceback

    def test_a_failing_batch_ends_the_threads(self, monkeypatch, files):
        def fail(*_):
            raise MemoryError

        monkeypatch.setattr(torch, "cat", fail)
        # `caught` keeps the traceback, and so the frames, alive.
        with no_stray_threads(), pytest.raises(MemoryError) as caught:
            read(files)
        assert caught.traceback

    def test_an_interrupt_while_waiting_ends_the_threads(self, monkeypatch, files):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(decoding, "_as_seen", interrupt)
        with no_stray_threads(), pytest.raises(KeyboardInterrupt):
            read(files)

    def test_the_first_bad_file_is_reported(self, files):
        for index in (13, 6):
            files[index].write_bytes(b"no image")
        with no_stray_threads(), pytest.raises(ValueError, match=r"X\[6\] \('.*06.png'\)"):
            read(files, batch_size=20, n_threads=4)

    def test_many_callers_at_once(self, files):
        images = [Image.open(path) for path in files]
        expected = pixels(files)
        results, callers = [], []
        for _ in range(6):
            callers.append(threading.Thread(target=lambda: results.append(pixels(images))))
            callers[-1].start()
        for caller in callers:
            caller.join()
        for image in images:
            image.close()
        assert len(results) == 6
        for result in results:
            np.testing.assert_array_equal(result, expected)


def _record_opened(monkeypatch, seconds=0.0) -> dict[Path, int]:
    """Record which files are opened, and by which thread."""
    opened, original = {}, Image.open

    def record(file):
        opened[Path(file.name)] = threading.get_ident()
        time.sleep(seconds)
        return original(file)

    monkeypatch.setattr(Image, "open", record)
    return opened


def _wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class TestMapAhead:
    @pytest.mark.parametrize("ahead", [1, 3, 10, 30])
    @pytest.mark.parametrize("n_threads", [1, 4])
    def test_results_are_those_of_map(self, ahead, n_threads):
        def slower_at_first(number):
            time.sleep(0.002 * (number < 3))
            return number**2

        with no_stray_threads():
            found = list(map_ahead(slower_at_first, range(10), ahead, n_threads))
        assert found == [number**2 for number in range(10)]

    def test_the_first_error_by_order_is_raised_after_what_precedes_it(self):
        results = []
        with no_stray_threads(), pytest.raises(ZeroDivisionError):
            for result in map_ahead(lambda number: 6 // number, [3, 2, 0, "a", 1], 5, 2):
                results.append(result)
        assert results == [2, 3]

    def test_nothing_of_nothing(self):
        assert list(map_ahead(str, [], 4, 2)) == []

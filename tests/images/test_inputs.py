"""What may be X, and what is said of what may not."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from PIL import Image

from reading import SIZE, draw, pixels, read
from skpadim.images.collection import check_images


class TestPaths:
    def test_every_way_to_give_paths(self, files):
        expected = np.stack([draw(*SIZE, 3, seed=index) for index in range(len(files))])
        names = [str(path) for path in files]
        ways = [files, tuple(files), names, np.array(names), np.array(files, dtype=object)]
        ways += [pd.Series(names), pd.Series(files), pd.Series(names, index=range(40, 60))]
        ways += [pd.Index(names), [_Pathlike(name) for name in names]]
        if hasattr(np.dtypes, "StringDType"):
            ways.append(np.array(names, dtype=np.dtypes.StringDType()))
        for X in ways:
            np.testing.assert_array_equal(pixels(X), expected)
            assert check_images(X).describe(3) == f"X[3] ({names[3]!r})"


class _Pathlike:
    def __init__(self, path):
        self._path = path

    def __fspath__(self):
        return self._path


class TestBadCollections:
    @pytest.mark.parametrize(
        ("X", "words"),
        [
            ([], "n_samples=0"),
            (np.empty((0, 8, 8, 3), np.uint8), "n_samples=0"),
            (np.array([]), "n_samples=0"),
            (torch.empty(0, 3, 8, 8), "n_samples=0"),
            (draw(9, 9), r"shape \(9, 9\) looks like a single image: wrap it in a list, \[X\]"),
            (draw(9, 9, 3), "single image: wrap"),
            (draw(9, 9, 4), "single image: wrap"),
            (torch.zeros(9, 9), "single image: wrap"),
            (Image.new("RGB", (5, 5)), "single PIL image: wrap"),
            ("photos/*.png", r"photos/\*.png.*looks like a pattern.*sorted\(glob.glob\('photos/\*.png'\)\)"),
            (Path("part[12].png"), "looks like a pattern"),
            (np.ma.masked_less(draw(2, 9, 9), 50), r"masked array.*X.filled\(value\).*ignore"),
            ([draw(9, 9), np.ma.masked_less(draw(9, 9), 50)], r"X\[1\] is a masked array"),
            ("part.png", r"single path, 'part.png': wrap it in a list, \[X\]"),
            (Path("part.png"), "single path, 'part.png': wrap"),
            (np.str_("part.png"), "single path, 'part.png': wrap"),
            (draw(5), r"\(n, height, width, 3\), got \(5,\)"),
            (np.float64(0.5), "got"),
            (torch.tensor(0.5), r"\(n, 3, height, width\), got"),
            (draw(2, 3, 4, 5, 3), r"got \(2, 3, 4, 5, 3\)"),
            ([Image.new("L", (0, 4))], r"X\[0\] has no pixels"),
            (np.array([["a", "b"], ["c", "d"]]), "one column"),
            (pd.DataFrame({"path": ["a"], "label": ["b"]}), "one column"),
        ],
    )
    def test_wrong_values(self, X, words):
        with pytest.raises(ValueError, match=words):
            check_images(X)

    @pytest.mark.parametrize(
        ("X", "words"),
        [
            (None, "got NoneType"),
            (5, "got int"),
            (b"part.png", "got bytes"),
            ({"a": draw(8, 8)}, "got dict"),
            ({"a.png", "b.png"}, "got set"),
            (OrderedDict(a=1), "dictionaries"),
            (scipy.sparse.eye(4).tocsr(), "sparse matrices are not supported"),
            (scipy.sparse.eye_array(4), "sparse matrices are not supported"),
            (torch.eye(4).to_sparse(), "sparse tensor"),
            ((name for name in ["a.png"]), r"generator.*list\(X\)"),
            (iter(["a.png"]), r"read only once.*list\(X\)"),
            (["a.png", None], r"X\[1\] must be a path.*got NoneType"),
            (["a.png", 3.5], r"X\[1\].*got float"),
            ([b"a.png"], r"X\[0\].*got bytes"),
            ([[[0, 1], [1, 0]]], r"X\[0\].*got list"),
            (np.array(["a.png", None], dtype=object), r"X\[1\].*got NoneType"),
            (range(3), r"X\[0\].*got int"),
        ],
    )
    def test_wrong_types(self, X, words):
        with pytest.raises(TypeError, match=words):
            check_images(X)

    def test_masked_arrays_that_mask_nothing(self):
        X = draw(2, *SIZE)
        np.testing.assert_array_equal(pixels(np.ma.masked_array(X)), pixels(X))
        np.testing.assert_array_equal(pixels([np.ma.masked_array(X[0])]), pixels(X[:1]))

    def test_an_empty_list_may_come_of_a_pattern(self):
        with pytest.raises(ValueError, match=r"n_samples=0.*pattern found them, look at"):
            check_images([])

    def test_a_pattern_in_a_list(self):
        with pytest.raises(ValueError, match=r"X\[0\].*no such file. It looks like a pattern.*glob.glob"):
            read(["photos/*.png"])

    def test_too_few(self):
        with pytest.raises(ValueError, match=r"Found n_samples=1 image\(s\).*at least 3 are needed"):
            check_images(["a.png"], min_images=3)

    def test_a_folder(self, tmp_path):
        for X in (tmp_path, str(tmp_path)):
            with pytest.raises(ValueError, match=r"X is a directory: .*sorted\(Path\('.*'\)\.glob"):
                check_images(X)
        with pytest.raises(ValueError, match=r"X\[0\].*it is a directory.*sorted\(Path"):
            read([tmp_path])
        for name in ("a.txt", "b.txt", "c.txt", "a.JPG", "b.JPG", "a.png"):
            (tmp_path / name).touch()
        with pytest.raises(ValueError, match=r"glob\('\*\.JPG'\)"):
            check_images(tmp_path)

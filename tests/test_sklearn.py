"""scikit-learn's own checks: as they are on two dimensions, through an adapter where images are meant."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from skpadim import (
    CNNFeatureTransformer,
    PaDiMDetector,
    PatchGaussian,
    RandomChannelSelector,
)


class TinyNetwork(torch.nn.Module):
    """Two small convolutions in double precision: the checks compare results to 1e-7."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.fine = torch.nn.Conv2d(3, 4, 3, padding=1).double()
            self.coarse = torch.nn.Conv2d(4, 5, 3, stride=2, padding=1).double()

    def forward(self, images):
        return self.coarse(self.fine(images))


class _RowsAsImages:
    """Turn every row of a table into an image: its numbers, squeezed into [0, 1], are the rows of pixels."""

    def __init__(self, layers=("fine", "coarse"), batch_size=64, device="cpu", random_state=0):
        super().__init__(
            TinyNetwork(),
            layers=layers,
            weights=None,
            image_size=(8, 6),
            batch_size=batch_size,
            device=device,
            random_state=random_state,
        )

    @classmethod
    def _get_param_names(cls):
        return ["batch_size", "device", "layers", "random_state"]

    def _as_images(self, X, reset):
        X = validate_data(self, X, reset=reset, dtype=np.float64)
        squeezed = 0.5 + 0.5 * np.tanh(X / 20)
        rows = np.arange(8) * X.shape[1] // 8
        return np.repeat(squeezed[:, rows, None], 6, axis=2)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.three_d_array = tags.input_tags.string = False
        return tags


class DetectorOfRows(_RowsAsImages, PaDiMDetector):
    _parameter_constraints: ClassVar[dict] = {}

    def fit(self, X, y=None):
        return super().fit(self._as_images(X, reset=True))

    def partial_fit(self, X, y=None):
        return super().partial_fit(self._as_images(X, reset=not hasattr(self, "n_features_in_")))

    def _images(self, X):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        return super()._images(self._as_images(X, reset=False))


class FeaturesOfRows(_RowsAsImages, CNNFeatureTransformer):
    _parameter_constraints: ClassVar[dict] = {}

    def fit_transform(self, X, y=None):
        return self.fit(X).transform(X)

    def fit(self, X, y=None):
        return super().fit(self._as_images(X, reset=True))

    def transform(self, X):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        pyramid = super().transform(self._as_images(X, reset=False))
        return np.asarray(pyramid).reshape(len(pyramid), -1)


@pytest.mark.filterwarnings(
    "ignore:false_alarm_rate", "ignore:All photos together use", "ignore:.*exact copies of others"
)
@pytest.mark.moves_global_generator
@parametrize_with_checks(
    [
        PatchGaussian(),
        RandomChannelSelector(),
        RandomChannelSelector(n_channels=1),
        DetectorOfRows(),
        FeaturesOfRows(),
    ],
    expected_failed_checks=lambda estimator: (
        {"check_fit_score_takes_y": "partial_fit after fit, which keeps nothing to go on from, is refused"}
        if hasattr(estimator, "partial_fit")
        else {}
    ),
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "estimator",
    [PaDiMDetector(), CNNFeatureTransformer(), RandomChannelSelector(), PatchGaussian()],
    ids=lambda estimator: type(estimator).__name__,
)
class TestFace:
    def test_clone_and_parameters(self, estimator):
        params = estimator.get_params()
        assert clone(estimator).get_params() == params
        assert estimator.set_params(**params).get_params() == params
        with pytest.raises(ValueError, match="Invalid parameter"):
            estimator.set_params(nonsense=1)

    def test_html_and_text(self, estimator):
        assert type(estimator).__name__ in estimator._repr_html_()
        assert repr(estimator) == f"{type(estimator).__name__}()"


def test_tags_are_honest():
    for estimator in (PaDiMDetector(), CNNFeatureTransformer()):
        tags = get_tags(estimator).input_tags
        assert (tags.two_d_array, tags.three_d_array, tags.string) == (False, True, True)
    assert get_tags(PaDiMDetector()).estimator_type == "outlier_detector"
    assert get_tags(PatchGaussian()).estimator_type == "outlier_detector"
    assert get_tags(PatchGaussian()).input_tags.two_d_array

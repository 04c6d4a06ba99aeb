"""Files of fitted estimators that execute nothing when they are loaded: what skops needs to know of skpadim.

joblib and pickle run whatever code a file asks for. `skops.io` builds only objects of types that the reader
trusts; a file with any other type is refused before anything is built::

    import skops.io
    from skpadim.persistence import TRUSTED_TYPES

    skops.io.dump(detector, "line3.skops")
    detector = skops.io.load("line3.skops", trusted=TRUSTED_TYPES)

A backbone must be given by its name: skops refuses to write a ``torch.nn.Module``. If
torchvision knows the architecture, save the network's state dict with ``torch.save`` and pass its path as
``weights`` instead. Paths and torch devices among the parameters come back as strings.
"""

from __future__ import annotations

from .alignment.aligner import PartAligner
from .channels import RandomChannelSelector
from .detector import PaDiMDetector
from .features import CNNFeatureTransformer
from .gaussian import PatchGaussian
from .projections import PCAChannelReducer, SemiOrthogonalProjection

#: Names of all types of skpadim's own that a file of a fitted detector, or of a Pipeline of its steps, holds.
#: skops itself trusts the rest: scikit-learn's Pipeline, NumPy's arrays, and Python's plain values. Steps and
#: callbacks from elsewhere must be trusted one by one: ``trusted=[*TRUSTED_TYPES, "their.Type"]``.
TRUSTED_TYPES: list[str] = [
    f"{estimator.__module__}.{estimator.__qualname__}"
    for estimator in (
        CNNFeatureTransformer,
        PaDiMDetector,
        PartAligner,
        PatchGaussian,
        PCAChannelReducer,
        RandomChannelSelector,
        SemiOrthogonalProjection,
    )
]

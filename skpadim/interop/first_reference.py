"""The pickles of the first public implementation of PaDiM."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..base.checks import check_size
from ..detector import PaDiMDetector
from ..network.backbones import build_backbone
from .assembly import ForeignGaussian, ForeignNetwork, assemble
from .unpickling import read_arrays

_LAYERS = ("layer1", "layer2", "layer3")
# Its two networks by the number of channels that it keeps of them, and how many these have.
_BACKBONES = {100: "resnet18", 550: "wide_resnet50_2"}
_ALL_CHANNELS = {"resnet18": 448, "wide_resnet50_2": 1792}
_SEED = 1024


def from_first_reference(
    path: str | os.PathLike[str],
    indices: ArrayLike | None = None,
    *,
    backbone: str | None = None,
    weights: str | os.PathLike[str] = "IMAGENET1K_V1",
    image_size: int | tuple[int, int] = 256,
    crop_size: int | tuple[int, int] | None = 224,
    device: str | torch.device | None = None,
) -> PaDiMDetector:
    """Take over what the first public implementation of PaDiM has learned.

    That is PaDiM-Anomaly-Detection-Localization-master by xiahaifeng1995 (2020), and what was copied from
    it. Its ``train_CLASS.pkl`` hold the mean and the covariance of every patch. They are read by an unpickler
    that makes NumPy arrays and nothing else: nothing of the file is run.

    Maps and scores are those of that implementation before it scales each test set to [0, 1]. There are no
    leave-one-out scores, hence no p-values and no threshold: see :meth:`PaDiMDetector.set_threshold`.

    Parameters
    ----------
    path : str or path
        The pickle: a list of the mean (channels, n_patches) and the covariance (channels, channels,
        n_patches).
    indices : array-like of shape (channels,) or None, default=None
        Which channels of the concatenated layers were kept, in the order of the file. None: those that its
        code draws, ``random.Random(1024).sample(range(n), channels)`` of the ``n`` that the layers have.
    backbone : str or None, default=None
        A network with the layers "layer1" to "layer3". None: ResNet-18 for 100 channels, Wide ResNet-50-2 for
        550, as its code has it.
    weights : str or path, default="IMAGENET1K_V1"
        The file does not hold the network. The default is what ``pretrained=True`` meant, which torchvision
        downloads once; or the path of a state-dict file.
    image_size, crop_size : int, (int, int) or None, default=256, 224
        As in the fit. That implementation resizes by Lanczos's filter and keeps the aspect: photos of
        ``image_size`` are neither resized there nor here.
    device : str or None, default=None
        A torch device. None: the first GPU, or the CPU without one.

    Returns
    -------
    PaDiMDetector
        Fitted, with ``epsilon=0.01``.

    Raises
    ------
    ValueError
        If there is no such file, or it holds something else, or does not fit the network, the sizes or the
        channels.

    Examples
    --------
    >>> from skpadim.interop import from_first_reference
    >>> detector = from_first_reference("temp_resnet18/train_bottle.pkl")  # doctest: +SKIP
    >>> detector.set_threshold(12.5).predict(photos)  # doctest: +SKIP
    """
    mean, covariance = _checked(read_arrays(path), path)
    name = backbone or _BACKBONES.get(len(mean))
    if name is None:
        raise ValueError(
            f"{os.fspath(path)!r} has {len(mean)} channels, which is neither 100, of ResNet-18, nor 550, of "
            "Wide ResNet-50-2: name the backbone."
        )
    kept = _as_drawn(name, len(mean)) if indices is None else np.asarray(indices)
    if kept.shape != (len(mean),) or not np.issubdtype(kept.dtype, np.integer):
        raise ValueError(
            f"indices has shape {kept.shape} and dtype {kept.dtype}; expected an int for each of the "
            f"{len(mean)} channels of the file."
        )
    size = check_size("image_size" if crop_size is None else "crop_size", crop_size or image_size)
    built = build_backbone(name, _LAYERS, weights, "imagenet", size, seed=0)
    network = ForeignNetwork(name, _LAYERS, built.arrays, built.normalisation)

    def precision_of(patches: Tensor) -> Tensor:
        chosen = torch.from_numpy(covariance[:, :, patches.numpy()]).double().permute(2, 0, 1)
        return torch.linalg.inv_ex(chosen)[0]  # where there is none, a factorisation says so later

    return assemble(
        network,
        ForeignGaussian(kept.astype(np.int64), torch.from_numpy(mean), precision_of),
        image_size=image_size,
        crop_size=crop_size,
        epsilon=0.01,
        weights=weights,
        device=device,
    )


def _as_drawn(backbone: str, n_channels: int) -> NDArray[np.int64]:
    """Return the channels that the first implementation draws, in its order."""
    if backbone not in _ALL_CHANNELS:
        raise ValueError(
            f"indices: the first implementation has no {backbone}, so which {n_channels} channels were kept "
            "is for you to say."
        )
    n_all = _ALL_CHANNELS[backbone]
    return np.array(random.Random(_SEED).sample(range(n_all), min(n_channels, n_all)))


def _checked(content: Any, path: str | os.PathLike[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean and covariance, if that is what a file holds."""
    parts = content if isinstance(content, list | tuple) else []
    shapes = [np.shape(part) for part in parts if isinstance(part, np.ndarray) and part.dtype.kind == "f"]
    if len(parts) == len(shapes) == 2 and all(shapes) and shapes[1] == (shapes[0][0], *shapes[0]):
        return parts[0], parts[1]
    raise ValueError(
        f"{os.fspath(path)!r} holds {f'arrays of shapes {shapes}' if shapes else type(content).__name__}; "
        "expected a list of the mean (channels, n_patches) and the covariance (channels, channels, "
        "n_patches)."
    )

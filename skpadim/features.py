"""CNNFeatureTransformer: from images to embeddings."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .base.checks import check_layer_names, check_size
from .base.devices import join_on_host, resolve_device
from .base.randomness import draw_seed
from .base.state import Estimator, rolls_back
from .images.collection import ImageBatch, Images, check_images
from .images.digests import digest
from .memory.recall import RecallingNetwork
from .memory.store import FeatureCache, UnknownNetworkError, built_once, network_digest, store_folder
from .network.extractor import PRECISIONS, Network
from .network.verification import check_module
from .network.weights import NETWORK_LOCK, build_trunk, copied, rebuild_trunk, trunk_arrays
from .pyramid import FeaturePyramid


class CNNFeatureTransformer(TransformerMixin, Estimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Turn images into the embeddings of a frozen convolutional network.

    Parameters
    ----------
    backbone : str or nn.Module, default="resnet18"
        A name from ``torchvision.models.list_models()``, or a network that torch.fx can trace. It computes
        in the precision of the module's weights.
    layers : sequence of str, default=("layer1", "layer2", "layer3")
        Layers whose outputs make the embedding; the network stops at the deepest of them.
    weights : str, path or None, default="DEFAULT"
        torchvision's weights by name, the path of a state-dict file (read with ``weights_only=True``), or
        None: random weights for a name. A module keeps its own with "DEFAULT" or None.
    image_size : int or (int, int), default=224
        Height and width in pixels to which every image is resized, antialiased, its aspect not kept.
    crop_size : int, (int, int) or None, default=None
        Height and width of the centre that is cut out after resizing. None: all. The paper resizes to 256
        and crops to 224.
    batch_size : int, default=32
        Images that are decoded at a time. Results depend on it to float32 rounding only.
    n_jobs : int or None, default=None
        Threads that decode image files while the network runs. None: 2. -1: one per processor.
    device : str or None, default=None
        A torch device, for example "cpu", "cuda" or "cuda:1". None: the first GPU, or the CPU without one.
    precision : {"float32", "tf32", "bfloat16"} or None, default=None
        What the network computes in. None: the precision of its weights. "tf32" is float32 whose
        convolutions a GPU may round to ten bits of mantissa, as torch lets it by default: up to twice as
        fast, with an error of about 1e-3. "bfloat16" is meant for GPUs and processors made for it; features
        come out in float32, with an error of some per cent.
    memory : joblib.Memory, str, path or None, default=None
        A folder, in which the features of every image are kept by its content: the network sees an image
        once, however often it comes, and goes on from there for deeper layers. 1.4 MB an image for the
        default layers at 224 px. ``joblib.Memory(folder).clear()`` empties it. Where a saved estimator
        finds no such folder, it computes without, and warns.
    random_state : int, RandomState instance or None, default=0
        Decides random weights (``weights=None``).

    Attributes
    ----------
    backbone_ : str or nn.Module
        The backbone of the fit.
    trunk_arrays_ : dict of str to ndarray
        The network's weights up to the deepest layer.
    layer_names_ : tuple of str
        The layers, in the order of the embedding.
    level_shapes_ : list of (int, int, int)
        Channels, height and width of every layer's output.
    resized_size_, input_size_ : (int, int)
        Height and width in pixels of an image before and after the crop; the network sees the latter.

    See Also
    --------
    FeaturePyramid : What ``transform`` returns.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim import CNNFeatureTransformer
    >>> photos = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    >>> features = CNNFeatureTransformer(weights=None, image_size=64, layers=("layer1", "layer2"))
    >>> features.fit_transform(photos)
    FeaturePyramid(2 images; layer1: 64x16x16, layer2: 128x8x8)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": [str, nn.Module],
        "layers": ["array-like"],
        "weights": [str, os.PathLike, None],
        "image_size": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "crop_size": [Interval(Integral, 1, None, closed="left"), "array-like", None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "device": [str, torch.device, None],
        "precision": [StrOptions(set(PRECISIONS) - {None}), None],
        "memory": [str, os.PathLike, joblib.Memory, None],
        "random_state": ["random_state"],
    }

    _rebuilt = ("_network",)

    def __init__(
        self,
        backbone: str | nn.Module = "resnet18",
        *,
        layers: Sequence[str] = ("layer1", "layer2", "layer3"),
        weights: str | os.PathLike[str] | None = "DEFAULT",
        image_size: int | tuple[int, int] = 224,
        crop_size: int | tuple[int, int] | None = None,
        batch_size: int = 32,
        n_jobs: int | None = None,
        device: str | torch.device | None = None,
        precision: str | None = None,
        memory: joblib.Memory | str | os.PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.weights = weights
        self.image_size = image_size
        self.crop_size = crop_size
        self.batch_size = batch_size
        self.n_jobs = n_jobs
        self.device = device
        self.precision = precision
        self.memory = memory
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def fit(self, X: Any, y: object = None) -> Self:
        """Build the network; nothing is learned from the images, and none is decoded.

        Parameters
        ----------
        X : images
            See :meth:`transform`.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X holds no images, a layer or backbone is unknown, the weights do not fit, or a module, once
            traced, gives something else than when it is called, or mixes the images of a batch.
        """
        check_images(X)
        if self.memory is not None:
            store_folder(self.memory)
        self.layer_names_ = check_layer_names(self.layers)
        self.resized_size_, self.input_size_ = self._check_sizes()
        seed = draw_seed(self.random_state)
        build = functools.partial(self._build, seed)
        with NETWORK_LOCK:
            self._network_digest = None
            # Of a network that nobody can tell from others a warning comes with the first image.
            with contextlib.suppress(UnknownNetworkError):
                if self.memory is not None:
                    self._network_digest = network_digest(self.backbone, self.weights, seed)
            if self._network_digest is None:
                built = build()
            else:
                decisive = (self.layer_names_, self.input_size_, self.precision, self.device)
                built = built_once(digest(self._network_digest, *decisive), build)
        for name, value in built.items():
            setattr(self, name, value if name == "_network" else copy.copy(value))
        return self

    def _build(self, seed: int) -> dict[str, Any]:
        """Build the network and see what its layers give: attributes by name."""
        trunk = build_trunk(self.backbone, self.layer_names_, self.weights, seed)
        arrays = trunk_arrays(trunk)
        network = self._make_network(trunk)
        shapes = network.shapes(self.input_size_)
        if isinstance(self.backbone, nn.Module):
            check_module(self.backbone, self.layer_names_, self.input_size_)
        return {
            # A copy: what becomes of a module later is not what was fitted.
            "backbone_": copied(self.backbone) if isinstance(self.backbone, nn.Module) else self.backbone,
            "trunk_arrays_": arrays,
            "_network": network,
            "level_shapes_": shapes,
        }

    def transform(self, X: Any) -> FeaturePyramid:
        """Compute the embeddings of images.

        Parameters
        ----------
        X : images
            An array (n, h, w) or (n, h, w, 3), uint8, uint16 or float in [0, 1]; a list or array of file
            paths; a list of PIL images or of arrays of any sizes; a torch tensor (n, 3, h, w).

        Returns
        -------
        FeaturePyramid
            Of all images. In a long stream of images, use :class:`PaDiMDetector`, which never holds them all.

        Raises
        ------
        ValueError, TypeError
            If an image cannot be read; the message names it.
        """
        check_is_fitted(self)
        batches = [[level.to("cpu", non_blocking=True) for level in batch] for batch in self.levels(X)]
        levels = [join_on_host(parts) for parts in zip(*batches, strict=True)]
        return FeaturePyramid(levels, self.layer_names_, self.input_size_)

    def batches(self, X: Any, *, min_images: int = 1) -> Iterator[ImageBatch]:
        """Decode images, resized and cropped, a batch at a time.

        Parameters
        ----------
        X : images
            See :meth:`transform`.
        min_images : int, default=1
            How many are needed.

        Yields
        ------
        ImageBatch
        """
        images = check_images(X, min_images=min_images)
        yield from images.batches(
            self.batch_size,
            self.resized_size_,
            self.input_size_,
            self._n_threads(),
        )

    def extract(self, batch: ImageBatch, channels: Sequence[NDArray[np.int64]] | None = None) -> list[Tensor]:
        """Compute the embeddings of a batch, on the device.

        Parameters
        ----------
        batch : ImageBatch
        channels : sequence of ndarray, optional
            The channels to compute of every layer. Default: all.

        Returns
        -------
        list of Tensor of shape (n_images, channels, height, width)
            One per layer.
        """
        return self._fitted_network().levels(batch.pixels, channels)

    def levels(self, X: Any, channels: Sequence[NDArray[np.int64]] | None = None) -> Iterator[list[Tensor]]:
        """Compute the embeddings of images a batch at a time, or read them where ``memory`` has them.

        Parameters
        ----------
        X : images
            See :meth:`transform`.
        channels : sequence of ndarray, optional
            The channels to return of every layer. Default: all.

        Yields
        ------
        list of Tensor of shape (n_images, channels, height, width)
            One per layer, on the device.
        """
        cache = None if self.memory is None else self._cache()
        if cache is None:
            for batch in self.batches(X):
                yield self.extract(batch, channels)
            return
        images, network = check_images(X), self._fitted_network()
        recalling = RecallingNetwork(
            network,
            self.level_shapes_,
            cache,
            resolve_device(self.device),
            goes_on=not isinstance(self.backbone_, nn.Module),
        )
        for start in range(0, len(images), self.batch_size):
            indices = range(start, min(start + self.batch_size, len(images)))
            yield recalling.levels(indices, images.digest, functools.partial(self._pixels, images), channels)

    def _pixels(self, images: Images, only: Sequence[int]) -> Tensor:
        (batch,) = images.batches(len(only), self.resized_size_, self.input_size_, self._n_threads(), only)
        return batch.pixels

    def _cache(self) -> FeatureCache | None:
        """Return the cache of the memory, or None, with a warning, on a machine without its folder."""
        network = self._network_digest
        try:
            if network is None:  # The memory came after the fit.
                with NETWORK_LOCK:
                    network = network_digest(self.backbone_, None, seed=0)
                network = digest(network, *self.trunk_arrays_.values())
            fitted = self._fitted_network()  # of the fit, whatever the parameters say by now
            kind = (self.resized_size_, self.input_size_, fitted.dtype, fitted.rounds_to_tf32)
            return FeatureCache(self.memory, digest(network, *kind))
        except UnknownNetworkError as error:
            reason = f"memory: the backbone cannot be told from others ({error})."
        except ValueError as error:
            reason = str(error)
        warnings.warn(f"{reason} Features are computed and not kept.", UserWarning, stacklevel=2)
        return None

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return a name for every channel of the embedding: the layer's and its number in the layer.

        Parameters
        ----------
        input_features : object
            Ignored: pixels have no names.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        names = [
            f"{layer}_{channel}"
            for layer, shape in zip(self.layer_names_, self.level_shapes_, strict=True)
            for channel in range(shape[0])
        ]
        return np.array(names, dtype=object)

    def _check_sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return height and width before and after the crop."""
        full = _as_pair("image_size", self.image_size)
        crop = full if self.crop_size is None else _as_pair("crop_size", self.crop_size)
        if crop[0] > full[0] or crop[1] > full[1]:
            raise ValueError(
                f"crop_size={self.crop_size} is larger than image_size={self.image_size}; choose a crop "
                "that fits into the resized image."
            )
        return full, crop

    def _n_threads(self) -> int:
        if self.n_jobs is None:
            return 2
        if self.n_jobs == 0:
            raise ValueError("n_jobs=0 has no meaning; pass a positive number of threads, -1 or None.")
        return self.n_jobs if self.n_jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + self.n_jobs)

    def _make_network(self, trunk: nn.Module) -> Network:
        return Network(trunk, self.layer_names_, resolve_device(self.device), self.precision)

    def _fitted_network(self) -> Network:
        """Return the network, built again from its arrays where a file was loaded."""
        with NETWORK_LOCK:
            if not hasattr(self, "_network"):
                trunk = rebuild_trunk(self.backbone_, self.layer_names_, self.trunk_arrays_)
                self._network = self._make_network(trunk)
            return self._network

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        return describe_image_input(tags)


def describe_image_input(tags: Tags) -> Tags:
    """Say in an estimator's tags that it takes images, as arrays or as paths, and no table.

    Parameters
    ----------
    tags : Tags

    Returns
    -------
    Tags
    """
    tags.input_tags.one_d_array = True
    tags.input_tags.two_d_array = False
    tags.input_tags.three_d_array = True
    tags.input_tags.string = True
    return tags


def _as_pair(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    return check_size(name, (size, size) if isinstance(size, Integral) else size)

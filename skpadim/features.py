"""CNNFeatureTransformer: from images to embeddings."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from numbers import Integral
from typing import Any, ClassVar, Self

import joblib
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin, _fit_context
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .alignment.aligner import PartAligner
from .alignment.choice import CHOICES
from .base.checks import check_size
from .base.devices import join_on_host
from .base.randomness import draw_seed
from .base.state import rolls_back
from .fitted_network import FittedNetwork
from .fitted_view import FittedView
from .images.collection import ImageBatch, Images, check_images
from .images.digests import digest
from .images.inputs import describe_image_input
from .images.placing import WAYS
from .images.resizing import images_at_a_time
from .images.scales import ValueRange
from .kernels.pooling import pooled, pooled_shapes, pooling
from .memory.store import FeatureStore, built_once, store_folder
from .needs import Plan
from .network.backbones import Backbone, backbone_identity, build_backbone
from .network.engines import ENGINES, check_engine
from .network.extractor import NETWORK_LOCK, PRECISIONS, FeatureExtractor
from .pyramid import FeaturePyramid
from .stream import FeatureBatch, RecalledBatches, computed_batches

# Threads that decode, unless the user says more: each holds a photo.
_MOST_DECODERS = 8


@dataclass
class _Built:
    """A network at work: fits of a search that differ in nothing that decides it share one."""

    backbone: Backbone
    extractor: FeatureExtractor
    shapes: list[tuple[int, int, int]]
    onnx: NDArray[np.uint8] | None


class CNNFeatureTransformer(TransformerMixin, FittedView, FittedNetwork, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Turn images into the embeddings of a frozen convolutional network.

    Parameters
    ----------
    backbone : str or nn.Module, default="efficientnet_lite0"
        "efficientnet_lite0", "efficientnet_lite1" or "efficientnet_lite2", a name from
        ``torchvision.models.list_models()``, one of ``timm.list_models()`` as "timm/NAME", or a module, which
        runs as it is: its own forward, in the precision of its weights, stopped behind the deepest layer.
    layers : sequence of str or "auto", default="auto"
        Layers whose outputs make the embedding. Of a module: names from its ``named_modules()`` that are
        called once. "auto": those that end the strides 4, 8 and 16 of a network by name, 8 and 16 of
        EfficientNet-Lite.
    weights : str, path or None, default="DEFAULT"
        "DEFAULT": the trained weights, for EfficientNet-Lite those that are installed, for others those that
        torchvision downloads, or that timm has in its cache. Another of torchvision's names; the path of a
        state-dict file (read with ``weights_only=True``); or None: random weights for a name. A module keeps
        its own with "DEFAULT" or None.
    normalisation : {"auto", "imagenet", "inception"} or (mean, std), default="auto"
        What is taken from pixels in [0, 1], and by what they are divided, for red, green and blue. "auto":
        what the weights were trained with, for a module ImageNet's. "inception": 0.5 and 0.5.
    image_size : int or (int, int), default=224
        Height and width in pixels to which every image is resized, antialiased.
    resize : {"stretch", "pad", "crop"}, default="stretch"
        What becomes of images of another aspect than ``image_size``. "stretch": it is not kept. "pad": all of
        the image is shown, beside it one colour, of which the network makes 0, and which counts for nothing.
        "crop": the image covers all, and what is over at its ends is cut off. See :class:`PaDiMDetector`,
        which knows, too, which patches are padding.
    crop_size : int, (int, int) or None, default=None
        Height and width of the centre that is cut out after that. None: all. The paper resizes to 256
        and crops to 224.
    value_range : "auto", "dtype", int or (float, float), default="auto"
        The stored values that are black and white. "auto": those that a file states; else 0 to 255 for uint8,
        0 to 65535 for uint16, 0 to 1 for floats. "dtype": what the type can hold. An int: so many bits.
    ignore : (height, width) array-like or path, optional
        A mask for all photos, in their coordinates, that is True, 1 or 255 where nothing counts: a serial
        number, say. The network sees one colour there.
    align : {"rigid", "shift", "auto"}, PartAligner or None, default=None
        Whether photos are moved so that their parts lie as in the photos of the fit, which then are looked
        at. See :class:`PaDiMDetector`, which knows, too, what a photo that was moved does not show.
    decoding : {"exact", "draft"}, default="exact"
        "draft": JPEG files of large photos are decoded to a half, a quarter or an eighth of their sides, as
        long as that is twice what the network sees or more: of 12 megapixels in a third of the time. Scores
        differ from those of whole photos, so that all should be of one kind, at the fit and later: at 224 px,
        with drawn parts, by 2 % in the mean and up to 6 %; at 64 px by 4.5 % and up to 9 %.
    patch_stride : int or None, default=None
        Pixels from one patch to the next, at least: features of finer layers are averaged over square cells
        of whole patches, at most so wide. Statistics, files and the time of scoring shrink by the number of
        patches; defects of less than a cell are diluted. None: the layers' own patches.
    batch_size : int, default=32
        Images that are decoded at a time, at most: fewer where they have more than 17 megapixels together.
        Results depend on it to float32 rounding only.
    n_decoders : int or None, default=None
        Threads that decode image files while the network runs. None: as many as torch has, from 2 to 8. -1:
        one per processor.
    device : str or None, default=None
        A torch device, for example "cpu", "cuda" or "cuda:1". None: the first GPU, or the CPU without one.
    precision : {"float32", "tf32", "bfloat16"} or None, default=None
        What the network computes in. None: the precision of its weights. "tf32" is float32 whose
        convolutions a GPU may round to ten bits of mantissa, as torch lets it by default: up to twice as
        fast, with an error of about 1e-3. "bfloat16" is meant for GPUs and processors made for it; features
        come out in float32, with an error of some per cent.
    engine : {"torch", "onnxruntime", "openvino"}, default="torch"
        What runs the network, on a CPU; with the extra "export". Features are the same to 1e-5. The fitted
        estimator carries the network as ONNX, too, so that loading it need not write that again.
    memory : joblib.Memory, str, path or None, default=None
        A folder, in which the features of every image are kept by its content: a network by name sees an
        image once, however often it comes. 0.2 MB an image for the default layers at 224 px. Features of a
        module are not kept. ``joblib.Memory(folder).clear()`` empties it. Where a saved estimator
        finds no such folder, it computes without, and warns.
    random_state : int, RandomState instance or None, default=0
        Decides random weights (``weights=None``).

    Attributes
    ----------
    backbone_ : str or nn.Module
        The backbone of the fit.
    trunk_arrays_ : dict of str to ndarray
        The weights of a network by name, up to the deepest layer. Empty for a module, which holds its own.
    trunk_graph_ : str or None
        What the network computes, as JSON, so that a loaded estimator needs neither torchvision nor tracing.
        None for a module, a network of timm, and the few of torchvision that hold more than torch's modules.
    trunk_onnx_ : ndarray of uint8, or None
        What another engine than torch runs.
    normalisation_ : tuple
        Mean and standard deviation per channel, and the interpolation that images are resized with.
    layer_names_ : tuple of str
        The layers, in the order of the embedding.
    ignored_ : ndarray of shape (height, width) or None
        Pixels, of those that the network sees, that count for nothing.
    painted_ : ndarray of shape (height, width) or None
        Those that have one colour in all photos: as `ignored_`, or less where padding is why they count for
        nothing.
    aligner_ : PartAligner or None
        What moves photos, fitted; None where they are taken as they lie.
    level_shapes_ : list of (int, int, int)
        Channels, height and width of every layer's output.
    pooling_ : tuple of int, or None
        How many of a layer's patches, along each side, are averaged to one, per layer; None: none are.
    resize_, decoding_ : str
        What becomes of images of another aspect, and how JPEG files are decoded.
    resized_size_, input_size_ : (int, int)
        Height and width in pixels, ``image_size`` and after ``crop_size``; the network sees the latter.

    See Also
    --------
    FeaturePyramid : What ``transform`` returns.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim import CNNFeatureTransformer
    >>> photos = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    >>> features = CNNFeatureTransformer("resnet18", weights=None, image_size=64, layers=("layer1", "layer2"))
    >>> features.fit_transform(photos)
    FeaturePyramid(2 images; layer1: 64x16x16, layer2: 128x8x8)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": [str, nn.Module],
        "layers": ["array-like", StrOptions({"auto"})],
        "weights": [str, os.PathLike, None],
        "normalisation": [str, "array-like"],
        "image_size": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "resize": [StrOptions(set(WAYS))],
        "crop_size": [Interval(Integral, 1, None, closed="left"), "array-like", None],
        "value_range": [str, Integral, "array-like"],
        "ignore": ["array-like", str, os.PathLike, None],
        "align": [StrOptions(set(CHOICES)), PartAligner, FrozenEstimator, None],
        "decoding": [StrOptions({"exact", "draft"})],
        "patch_stride": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_decoders": [Integral, None],
        "device": [str, torch.device, None],
        "precision": [StrOptions(set(PRECISIONS) - {None}), None],
        "engine": [StrOptions(set(ENGINES))],
        "memory": [str, os.PathLike, joblib.Memory, None],
        "random_state": ["random_state"],
    }

    #: Files of earlier versions have none.
    pooling_: tuple[int, ...] | None = None
    decoding_: str = "exact"
    _rebuilt = (*FittedNetwork._rebuilt, *FittedView._rebuilt)
    #: What tells the network of the fit from others in ``memory``; None where it was fitted without one.
    _identity: str | None = None

    def __init__(
        self,
        backbone: str | nn.Module = "efficientnet_lite0",
        *,
        layers: Sequence[str] | str = "auto",
        weights: str | os.PathLike[str] | None = "DEFAULT",
        normalisation: str | tuple[Sequence[float], Sequence[float]] = "auto",
        image_size: int | tuple[int, int] = 224,
        resize: str = "stretch",
        crop_size: int | tuple[int, int] | None = None,
        value_range: ValueRange = "auto",
        ignore: ArrayLike | str | os.PathLike[str] | None = None,
        align: str | PartAligner | FrozenEstimator | None = None,
        decoding: str = "exact",
        patch_stride: int | None = None,
        batch_size: int = 32,
        n_decoders: int | None = None,
        device: str | torch.device | None = None,
        precision: str | None = None,
        engine: str = "torch",
        memory: joblib.Memory | str | os.PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.weights = weights
        self.normalisation = normalisation
        self.image_size = image_size
        self.resize = resize
        self.crop_size = crop_size
        self.value_range = value_range
        self.ignore = ignore
        self.align = align
        self.decoding = decoding
        self.patch_stride = patch_stride
        self.batch_size = batch_size
        self.n_decoders = n_decoders
        self.device = device
        self.precision = precision
        self.engine = engine
        self.memory = memory
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def fit(self, X: Any, y: object = None) -> Self:
        """Build the network; nothing is learned from the images, and none decoded, unless to ``align``.

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
            If X holds no images, a layer or backbone is unknown or gives no feature maps, the weights do not
            fit, or a module mixes the images of a batch.
        """
        images = self.images(X)
        return self.build().learn_places(images)

    def build(self) -> Self:
        """Build the network: all that :meth:`fit` does without images.

        Returns
        -------
        self
        """
        check_engine(self.engine, self.device, self.precision)
        self.resized_size_, self.input_size_ = self._check_sizes()
        self.resize_, self.decoding_ = self.resize, self.decoding
        seed = draw_seed(self.random_state)
        self._identity = self._check_identity(seed)
        build = functools.partial(self._build, seed)
        if self._identity is None:
            built = build()
        else:
            key = (
                self.layers,
                self.normalisation,
                self.input_size_,
                self.precision,
                self.device,
                self.engine,
            )
            built = built_once(digest(self._identity, *key), build)
        self.backbone_, self.layer_names_ = built.backbone.network, built.backbone.layers
        self.trunk_graph_ = built.backbone.graph
        self.normalisation_ = astuple(built.backbone.normalisation)
        self.pooling_ = pooling(self.patch_stride, self.layer_names_, built.shapes, self.input_size_)
        self.level_shapes_ = pooled_shapes(built.shapes, self.pooling_)
        self._take_places(None, [])
        self.trunk_onnx_ = built.onnx
        self._take(dict(built.backbone.arrays), lambda: built.extractor)
        return self

    def _check_identity(self, seed: int) -> str | None:
        """Return what tells the network from others in ``memory``, or None if no features are kept."""
        if self.memory is None:
            return None
        identity = backbone_identity(self.backbone, self.weights, seed)
        if identity is not None:
            store_folder(self.memory, make=True)
        else:
            warnings.warn(
                "memory: nobody can tell what a module computes without running it. Its features are "
                "computed each time, and not kept. Pass a network by its name as backbone, or memory=None.",
                UserWarning,
                stacklevel=2,
            )
        return identity

    def _build(self, seed: int) -> _Built:
        """Build the network and see what its layers give."""
        with NETWORK_LOCK:
            backbone = build_backbone(
                self.backbone, self.layers, self.weights, self.normalisation, self.input_size_, seed
            )
            extractor = self._at_work(backbone.trunk, backbone.layers, backbone.normalisation)
            shapes = extractor.shapes(self.input_size_)
            extractor.check_images_are_apart(self.input_size_)
            onnx = self._in_engine(extractor, None)
            return _Built(backbone, extractor, shapes, onnx)

    def fit_transform(self, X: Any, y: object = None) -> FeaturePyramid:
        """Fit, compute the embeddings of the same images, and warn if these use little of their range.

        Parameters
        ----------
        X : images
            See :meth:`transform`.
        y : object
            Ignored.

        Returns
        -------
        FeaturePyramid
        """
        images = self.fit(X).images(X)
        pyramid = self.transform(images)
        images.warn_of_astray()
        images.warn_of_range()
        return pyramid

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
        images = self.images(X)
        batches = [[level.to("cpu", non_blocking=True) for level in batch] for batch in self.levels(images)]
        levels = [join_on_host(parts) for parts in zip(*batches, strict=True)]
        return FeaturePyramid(levels, self.layer_names_, self.input_size_)

    def images(self, X: Any, *, min_images: int = 1, on_error: str = "raise") -> Images:
        """Check that X holds images, and say how to read them; none is decoded.

        Parameters
        ----------
        X : images
            See :meth:`transform`. What this method returned is returned as it is.
        min_images : int, default=1
            How many are needed.
        on_error : {"raise", "skip"}, default="raise"
            What to do about an image that cannot be read.

        Returns
        -------
        Images
        """
        if isinstance(X, Images):
            return X
        return check_images(X, min_images=min_images, value_range=self.value_range, on_error=on_error)

    def batches(
        self, X: Any, *, only: Sequence[int] | None = None, batch_size: int | None = None
    ) -> Iterator[ImageBatch]:
        """Decode images, resized, cropped, and painted where nothing counts, a batch at a time.

        Parameters
        ----------
        X : images
            See :meth:`transform`.
        only : sequence of int, optional
            The images to decode. Default: all.
        batch_size : int, optional
            Images at a time. Default: the parameter, or fewer where images are large.

        Yields
        ------
        ImageBatch
        """
        sizes = (self.resized_size_, self.input_size_)
        images, view = self.images(X), self._at_sight()
        for batch in images.batches(
            batch_size or self.images_at_a_time,
            *sizes,
            self._n_threads(),
            only,
            self.normalisation_[2],
            view.place,
            view.least if self.decoding_ == "draft" else None,
        ):
            yield replace(batch, pixels=self._painted(batch.pixels), shown=view.shown(batch.original_sizes))

    @property
    def images_at_a_time(self) -> int:
        """Images of a batch: ``batch_size``, or fewer where they are large."""
        return images_at_a_time(self.batch_size, self.input_size_)

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
        return pooled(self._fitted_extractor().levels(batch.pixels, channels), self.pooling_)

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
        return (batch.levels for batch in self.stream(X, channels))

    def stream(
        self,
        X: Any,
        channels: Sequence[NDArray[np.int64]] | None = None,
        *,
        measure: bool = False,
        start: int = 0,
    ) -> Iterator[FeatureBatch]:
        """Do what :meth:`levels` does, and tell which images a batch holds, and what these look like.

        Parameters
        ----------
        X, channels
            See :meth:`levels`.
        measure : bool, default=False
            Whether to measure the images, and to tell those of the same content.
        start : int, default=0
            The first image of the first batch.

        Yields
        ------
        FeatureBatch
            None is empty; images that are skipped are in none.
        """
        images, view = self.images(X), self._at_sight()
        for batch in self._batches_of_features(images, channels, measure, start):
            placed = view.batch(batch.placements, batch.original_sizes)
            judged = self._without_unseen(images, batch._replace(placed=placed))
            if judged.indices:
                assert judged.placed is not None
                view.note_astray(images, judged.placed, judged.indices)
                yield judged

    def _batches_of_features(
        self, images: Images, channels: Sequence[NDArray[np.int64]] | None, measure: bool, start: int
    ) -> Iterator[FeatureBatch]:
        store = self._store()
        if store is None:
            batches = self.batches(images, only=range(start, len(images)))
            yield from computed_batches(batches, lambda batch: self.extract(batch, channels), measure=measure)
            return
        recalled = self._recalled(images, store)
        for batch in recalled.batches(self.images_at_a_time, channels, measure=measure, start=start):
            device = self._fitted_extractor().device
            yield batch._replace(levels=[level.to(device, non_blocking=True) for level in batch.levels])

    def again(
        self, X: Any, indices: Sequence[int], n_together: int, channels: Sequence[NDArray[np.int64]]
    ) -> list[Tensor]:
        """Compute the embeddings of images once more, to the last bit where the network gives it.

        Its rounding depends on how many images pass it together: as many do again, the last more than once.

        Parameters
        ----------
        X : images
            See :meth:`transform`.
        indices : sequence of int
            The images, at most ``n_together``.
        n_together : int
            With how many images, itself included, each was computed before.
        channels : sequence of ndarray
            The channels to return of every layer.

        Returns
        -------
        list of Tensor of shape (n_images, channels, height, width)
            One per layer, on the device.
        """
        images, store = self.images(X), self._store()
        if store is not None:
            levels = self._recalled(images, store).levels(indices, channels)
            return [level.to(self._fitted_extractor().device) for level in levels]
        filled = [*indices, *[indices[-1]] * (n_together - len(indices))]
        (batch,) = self.batches(images, only=filled, batch_size=n_together)
        return [level[: len(indices)] for level in self.extract(batch, channels)]

    def _recalled(self, images: Images, store: FeatureStore) -> RecalledBatches:
        shapes = dict(zip(self.layer_names_, self.level_shapes_, strict=True))

        def compute(indices: Sequence[int]) -> Iterator[FeatureBatch]:
            return computed_batches(self.batches(images, only=indices), self.extract, measure=True)

        return RecalledBatches(images, store, shapes, compute, is_aligned=self.aligner_ is not None)

    def plan(
        self,
        channels: Sequence[NDArray[np.int64]],
        n_images: int,
        n_calibration: int,
        n_spare: int | None = None,
    ) -> Plan:
        """Return what decides how much memory a fit on these features takes.

        Parameters
        ----------
        channels : sequence of ndarray
            Those that are kept of every layer.
        n_images, n_calibration : int
            Photos to learn from, and to calibrate with.
        n_spare : int, optional
            Photos to keep beside these. Default: it is no detector that grows.

        Returns
        -------
        Plan
        """
        extractor = self._fitted_extractor()
        tiling = extractor.tiling(self.input_size_)
        largest = extractor.activation_bytes(self.input_size_)
        kept = zip(channels, self.level_shapes_, strict=True)
        return Plan(
            shapes=tuple((len(of_layer), shape[1], shape[2]) for of_layer, shape in kept),
            image_size=self.input_size_,
            n_images=n_images,
            n_calibration=n_calibration,
            batch_size=self.batch_size,
            activation_bytes=largest if tiling is None else round(largest / tiling.share),
            tile_bytes=None if tiling is None else largest,
            at_a_time_bytes=extractor.at_a_time_bytes,
            itemsize=max(4, extractor.dtype.itemsize),
            n_spare=n_spare,
        )

    def _store(self) -> FeatureStore | None:
        """Return where features are kept; None without a memory, and, with a warning, without its folder."""
        if self.memory is None or not isinstance(self.backbone_, str):
            return None
        # The memory may have come after the fit; the weights are then known by what they are.
        identity = self._identity or digest(self.backbone_, *self.trunk_arrays_.values())
        extractor = self._fitted_extractor()  # of the fit, whatever the parameters say by now
        sizes = (self.resized_size_, self.input_size_)
        painted = b"" if self.painted_ is None else self.painted_
        kind: tuple[Any, ...] = (
            sizes,
            self.pooling_,
            self.normalisation_,
            extractor.dtype,
            extractor.rounds_to_tf32,
            self.engine,
        )
        if self.aligner_ is not None:
            kind = (*kind, *self.aligner_.identity())
        if self.resize_ != "stretch":
            kind = (*kind, self.resize_)
        if self.decoding_ != "exact":
            kind = (*kind, self.decoding_)
        try:
            return FeatureStore(self.memory, digest(identity, painted, *kind))
        except ValueError as error:
            warnings.warn(f"{error} Features are computed and not kept.", UserWarning, stacklevel=2)
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
        full = check_size("image_size", self.image_size)
        crop = full if self.crop_size is None else check_size("crop_size", self.crop_size)
        if crop[0] > full[0] or crop[1] > full[1]:
            raise ValueError(
                f"crop_size={self.crop_size} is larger than image_size={self.image_size}; choose a crop "
                "that fits into the resized image."
            )
        return full, crop

    def _n_threads(self) -> int:
        if self.n_decoders is None:
            return min(max(2, torch.get_num_threads()), _MOST_DECODERS)
        if self.n_decoders == 0:
            raise ValueError("n_decoders=0 has no meaning; pass a positive number of threads, -1 or None.")
        return self.n_decoders if self.n_decoders > 0 else max(1, (os.cpu_count() or 1) + 1 + self.n_decoders)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was saved; earlier versions called the threads that decode ``n_jobs``."""
        state = dict(state)
        if "n_jobs" in state:
            state["n_decoders"] = state.pop("n_jobs")
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Tags:
        return describe_image_input(super().__sklearn_tags__())

"""PaDiMDetector: the facade. It owns streaming, thresholds, and maps in image coordinates."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar, Self

import joblib
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .alignment.aligner import PartAligner
from .base.available import available_bytes
from .base.callbacks import CallbackSupportMixin, with_callbacks
from .base.devices import resolve_device
from .base.randomness import draw_seed
from .base.state import Estimator, rolls_back
from .calibration import CalibratedDecisionMixin
from .camera import PhotoCheck, PhotoChecker
from .channels import RandomChannelSelector
from .features import CNNFeatureTransformer
from .gaussian import PatchGaussian
from .growth.detectors import GrowingDetector, Steps, new_growth, warn_of_photos
from .growth.groups import label
from .growth.on_demand import drop_carried
from .growth.patches import MIN_IMAGES
from .growth.seeing import see
from .images.arriving import ArrivingImages
from .images.collection import Images
from .images.inputs import describe_image_input
from .images.scales import ValueRange
from .inspection import Inspection, Inspections, Request
from .judging import Judge
from .needs import MemoryNeed, Plan, check_n_images, check_room, fit_bytes, score_bytes
from .parallel.tasks import jobs_at_hand
from .stream import join_by_image

# How many good photos may look unusual, unless said otherwise.
_CHECK_RATE = 0.01
# Parameters of the features that may be changed after the fit.
_FREE = ("batch_size", "n_decoders", "memory")
_STEPS = (CNNFeatureTransformer, RandomChannelSelector, PatchGaussian)


class PaDiMDetector(CallbackSupportMixin, GrowingDetector, CalibratedDecisionMixin, Estimator):
    """Learn good parts from photos alone, find defects, show where they are.

    Patch Distribution Modeling (Defard et al. 2020, arXiv:2011.08785): a frozen CNN turns every image patch
    into an embedding, each patch position of the good images gets a multivariate Gaussian, and the
    Mahalanobis distance of a new patch to its Gaussian is its anomaly score. The threshold comes from exact
    leave-one-out scores of the good images.

    Parameters
    ----------
    backbone : str or nn.Module, default="efficientnet_lite0"
        The name of a network of skpadim, torchvision or timm ("timm/NAME"), or a module. See
        :class:`CNNFeatureTransformer`.
    layers : sequence of str or "auto", default="auto"
        Layers whose outputs make the embedding. "auto": those that end the strides 4, 8 and 16; of
        EfficientNet-Lite, 8 and 16.
    n_channels : int, "auto" or None, default="auto"
        Channels to keep, drawn at random. "auto": 100, or all where there are fewer. None: all.
    weights : str, path or None, default="DEFAULT"
        "DEFAULT": trained weights; for EfficientNet-Lite they are installed, and nothing is downloaded. Or
        another of torchvision's names, the path of a state-dict file, or None: random weights.
    normalisation : {"auto", "imagenet", "inception"} or (mean, std), default="auto"
        How pixels are scaled. "auto": as for the training of the weights.
    image_size : int or (int, int), default=224
        Height and width in pixels to which every image is resized.
    resize : {"stretch", "pad", "crop"}, default="stretch"
        What becomes of images of another aspect than ``image_size``. "stretch": it is not kept. "pad": the
        image is scaled so that all of it fits, at the centre, and padded with one colour. Patches of which
        more than a quarter is padding count for nothing in it; those that are so in more than one in ten good
        images count for nothing in all. "crop": the image is scaled so that it just covers ``image_size``,
        and its centre is kept. What was cut off was not looked at: it is NaN in maps, and never marked.
    crop_size : int, (int, int) or None, default=None
        Height and width of the centre that is cut out after that. None: all.
    value_range : "auto", "dtype", int or (float, float), default="auto"
        The stored values that are black and white; an int is a number of bits. "auto": what a file states, or
        else its type. See :class:`CNNFeatureTransformer`.
    ignore : (height, width) array-like or path, optional
        A mask for all photos, in their coordinates, that is True, 1 or 255 where nothing counts: a serial
        number, say. The network sees one colour there, maps are 0, and scores and thresholds do without.
        Where photos are aligned, they are the pixels of aligned photos: :meth:`PartAligner.transform` shows
        them.
    align : {"rigid", "shift", "auto"}, PartAligner, FrozenEstimator or None, default=None
        Whether photos are moved so that parts lie as on the good photos of the fit. "rigid": turned, shifted,
        and scaled by some per cent. "shift": shifted alone. "auto": "rigid" where good photos tell that parts
        are found, and move. A PartAligner: as it says, fitted anew; in scikit-learn's FrozenEstimator: as it
        is. None: as they lie. What a photo does not show once it is moved counts for nothing in it; places
        that more than one in ten good photos do not show count for nothing in all. Maps, masks and regions
        are those of the photo as it is. A photo whose part is not found is taken as it lies, and
        :meth:`check` tells.
    decoding : {"exact", "draft"}, default="exact"
        "draft": JPEG files of large photos are decoded to a fraction of their pixels, several times as fast;
        see :class:`CNNFeatureTransformer`.
    on_error : {"raise", "skip"}, default="raise"
        What to do about an image that cannot be read. "skip": a warning counts them; they are not learned,
        their scores, p-values and maps are NaN, nothing is marked, and ``predict`` says -1. Maps and masks
        at the original size are None.
    epsilon : float or "auto", default="auto"
        Added to every variance. "auto": 1 % of the mean feature variance. 0.01 is the paper's, for ResNets.
    sigma : float, default=4.0
        Standard deviation in pixels of the Gaussian that smooths the map.
    false_alarm_rate : float, default=0.05
        Share of good images that ``predict`` may call anomalies.
    n_calibration : int, default=500
        Leave-one-out scores are computed for this many training images at most, drawn at random.
    patch_stride : int or None, default=None
        Pixels from one patch to the next, at least: features of finer layers are averaged over square cells,
        which saves memory where photos are large, and dilutes small defects. See
        :class:`CNNFeatureTransformer`. None: the layers' own patches.
    batch_size : int, default=32
        Images that are decoded and learned from at a time, at most: fewer where they have more than 17
        megapixels together. Results depend on it to float32 rounding only.
    n_decoders : int or None, default=None
        Threads that decode image files while the network runs. None: as many as torch has, from 2 to 8. -1:
        one per processor.
    n_jobs : int or None, default=None
        Jobs that share the photos of a fit or a score, over joblib's active backend: processes here, or
        workers elsewhere. None: 1, unless in a ``joblib.parallel_config`` context. -1: all processors.
    device : str or None, default=None
        A torch device. None: the first GPU, or the CPU without one.
    precision : {"float32", "tf32", "bfloat16"} or None, default=None
        What the network computes in. None: the precision of its weights. Statistics and distances are always
        float64 and float32. See :class:`CNNFeatureTransformer`.
    engine : {"torch", "onnxruntime", "openvino"}, default="torch"
        What runs the network, on a CPU. See :class:`CNNFeatureTransformer`.
    memory : joblib.Memory, str, path or None, default=None
        A folder, in which the features of every image are kept by its content: for searches over layers and
        channels. See :class:`CNNFeatureTransformer`.
    checkpoint : str, path or None, default=None
        A folder, in which a fit writes what it has learned so far. One that was killed goes on from there
        when it is called again with the same photos and parameters, and gives the same detector. Other photos
        or parameters are refused; a fit that ends well removes what it wrote. Each fit wants its own folder.
    checkpoint_every : int, default=50
        Batches between two checkpoints.
    random_state : int, RandomState instance or None, default=0
        Decides the channels, random weights, and the calibration sample.

    Attributes
    ----------
    pipeline_ : Pipeline
        The fitted steps "features", "channels" and "gaussian".
    channel_indices_ : ndarray of shape (n_channels,)
        The channels kept; they index the concatenated embedding, layers in the order given.
    loo_scores_ : ndarray of shape (n_scores,)
        Anomaly scores of training images against the Gaussians of all *other* training images, exact: of
        those that are no copies, or of other groups. There are min(n_images, n_calibration), or with groups
        as many as whole groups have.
    loo_indices_ : ndarray of shape (n_scores,)
        Which training images these are the scores of, by index in `X`.
    n_groups_ : int or None
        Of how many groups these are; None without groups.
    skipped_ : dict of int to str
        What was wrong with each image of the fit that ``on_error="skip"`` left out, by its index.
    photo_statistics_ : ndarray of shape (min(n_images, 500), 9)
        What a random sample of the training photos looks like; see
        :func:`skpadim.images.statistics.photo_statistics`.
    offset_ : float
        Minus the threshold: ``decision_function`` is ``score_samples - offset_``.

    See Also
    --------
    CNNFeatureTransformer, RandomChannelSelector, PatchGaussian : The steps, for a Pipeline of your own.

    References
    ----------
    .. [1] T. Defard, A. Setkov, A. Loesch, R. Audigier, "PaDiM: a Patch Distribution Modeling Framework for
       Anomaly Detection and Localization", ICPR Workshops, 2021.

    Examples
    --------
    >>> from skpadim import PaDiMDetector
    >>> from skpadim.datasets import make_inspection_images
    >>> photos = make_inspection_images(n_train=20, n_good=1, n_defective=1, image_size=64)
    >>> detector = PaDiMDetector(weights=None, image_size=64).fit(photos.X_train)
    >>> detector.score_samples(photos.X_test).shape
    (2,)
    >>> detector.anomaly_map(photos.X_test).shape
    (2, 64, 64)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        # Device and random_state mean the same in all steps.
        **CNNFeatureTransformer._parameter_constraints,
        "n_channels": RandomChannelSelector._parameter_constraints["n_channels"],
        "epsilon": PatchGaussian._parameter_constraints["epsilon"],
        "sigma": PatchGaussian._parameter_constraints["sigma"],
        "false_alarm_rate": PatchGaussian._parameter_constraints["false_alarm_rate"],
        "n_calibration": PatchGaussian._parameter_constraints["n_calibration"],
        "on_error": [StrOptions({"raise", "skip"})],
        "checkpoint": [str, os.PathLike, None],
        "checkpoint_every": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
    }

    _rebuilt = ("_growing",)

    def __init__(
        self,
        backbone: str | nn.Module = "efficientnet_lite0",
        layers: Sequence[str] | str = "auto",
        n_channels: int | str | None = "auto",
        *,
        weights: str | os.PathLike[str] | None = "DEFAULT",
        normalisation: str | tuple[Sequence[float], Sequence[float]] = "auto",
        image_size: int | tuple[int, int] = 224,
        resize: str = "stretch",
        crop_size: int | tuple[int, int] | None = None,
        value_range: ValueRange = "auto",
        ignore: ArrayLike | str | os.PathLike[str] | None = None,
        align: str | PartAligner | FrozenEstimator | None = None,
        decoding: str = "exact",
        on_error: str = "raise",
        epsilon: float | str = "auto",
        sigma: float = 4.0,
        false_alarm_rate: float = 0.05,
        n_calibration: int = 500,
        patch_stride: int | None = None,
        batch_size: int = 32,
        n_decoders: int | None = None,
        n_jobs: int | None = None,
        device: str | torch.device | None = None,
        precision: str | None = None,
        engine: str = "torch",
        memory: joblib.Memory | str | os.PathLike[str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 50,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.n_channels = n_channels
        self.weights = weights
        self.normalisation = normalisation
        self.image_size = image_size
        self.resize = resize
        self.crop_size = crop_size
        self.value_range = value_range
        self.ignore = ignore
        self.align = align
        self.decoding = decoding
        self.on_error = on_error
        self.epsilon = epsilon
        self.sigma = sigma
        self.false_alarm_rate = false_alarm_rate
        self.n_calibration = n_calibration
        self.patch_stride = patch_stride
        self.batch_size = batch_size
        self.n_decoders = n_decoders
        self.n_jobs = n_jobs
        self.device = device
        self.precision = precision
        self.engine = engine
        self.memory = memory
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    @with_callbacks
    def fit(self, X: Any, y: object = None, groups: ArrayLike | None = None) -> Self:
        """Learn from photos of good parts, a batch at a time.

        Parameters
        ----------
        X : images
            An array (n, h, w) or (n, h, w, 3), uint8, uint16 or float in [0, 1]; a list or array of file
            paths; a list of PIL images or of arrays of any sizes; a torch tensor (n, 3, h, w); a
            :class:`PhotoLoader`. To learn from, also an iterator or a Dask bag of them. At least three.
        y : object
            Not learned from. Where it labels images -1, a warning says that they are learned as good.
        groups : array-like of shape (n_images,), optional
            Labels of what photos have in common, such as the day or the batch: numbers, words or dates. Each
            photo is then scored against the Gaussians of all photos of *other* groups, so that the threshold
            is one for photos of a new group; see the user guide. At least two, none of more photos than
            ``n_calibration``, each of which leaves three; of more photos than that, whole groups are drawn.
            None: only exact copies of a photo are left out with it.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter is out of range or an image cannot be read; the message names it. The detector
            is left as it was.

        Warns
        -----
        UserWarning
            If y, +1 good and -1 defective, says that defective images are among them; if some are copies.
        """
        steps = self._make_steps()
        images = self._given(steps, X, y, min_images=MIN_IMAGES)
        seed = draw_seed(steps.gaussian.random_state)
        labels = label(images, groups)
        labels.refuse_unfit(self.n_calibration, seed)
        self._fit_network(steps, images)
        self._check_room(steps, images, largest_group=labels.largest())
        growth = new_growth(steps)
        checkpoints = see(self, steps, growth, images, X)
        drop_carried(self)
        self.skipped_ = dict(growth.skipped)
        self._learn(steps, growth, keep=False)
        warn_of_photos(images, growth)
        checkpoints.finish()
        return self

    def memory_need(self, n_images: int) -> MemoryNeed:
        """Say how much memory a fit takes at its peak, and scoring then, before there is any photo.

        The network is built, and photos as they are decoded are not counted. ``fit`` itself refuses where
        what it needs is not there; it knows groups, too, which add little, unless one has hundreds of photos.

        With ``n_jobs`` above 1 it is what this process takes to merge what the jobs send. Each of them is a
        process beside it, here or elsewhere, that takes about what a fit by one job does, and imports and the
        network once more.

        Parameters
        ----------
        n_images : int
            Photos to learn from, at least three.

        Returns
        -------
        MemoryNeed
            ``fit`` and ``score``: bytes, on the device, beside imports and the network.

        Raises
        ------
        ValueError, TypeError
            If a parameter is out of range, or `n_images` no such number.

        Examples
        --------
        >>> from skpadim import PaDiMDetector
        >>> need = PaDiMDetector(image_size=2048, weights=None, device="cpu").memory_need(200)
        >>> f"{need.fit / 1e9:.1f} GB, {need.score / 1e9:.1f} GB"
        '5.0 GB, 1.5 GB'
        """
        self._validate_params()
        n_images = check_n_images(n_images)
        steps = self._make_steps()
        steps.features.build()
        self._draw_channels(steps)
        plan = self._plan(steps, n_images)
        return MemoryNeed(fit_bytes(plan), score_bytes(plan))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was saved; refuse steps of other types, which are no fitted detector's."""
        if "n_decoders" not in state and "n_jobs" in state:
            # Earlier versions called the threads that decode so, and had no other jobs.
            state = {**state, "n_decoders": state["n_jobs"], "n_jobs": None}
        super().__setstate__(state)
        if not hasattr(self, "pipeline_"):
            return
        expected = (Pipeline, *_STEPS)
        found = type(self.pipeline_), *(type(step) for _, step in getattr(self.pipeline_, "steps", []))
        if found != expected:
            raise ValueError(
                f"pipeline_ holds {[kind.__name__ for kind in found]}, expected "
                f"{[kind.__name__ for kind in expected]}: somebody changed the file. Do not use it."
            )

    def _make_steps(self) -> Steps:
        seed = draw_seed(self.random_state)
        features = CNNFeatureTransformer(
            self.backbone,
            layers=self.layers,
            weights=self.weights,
            normalisation=self.normalisation,
            image_size=self.image_size,
            resize=self.resize,
            crop_size=self.crop_size,
            value_range=self.value_range,
            ignore=self.ignore,
            align=self.align,
            decoding=self.decoding,
            patch_stride=self.patch_stride,
            batch_size=self.batch_size,
            n_decoders=self.n_decoders,
            device=self.device,
            precision=self.precision,
            engine=self.engine,
            memory=self.memory,
            random_state=seed,
        )
        channels = RandomChannelSelector(self.n_channels, random_state=seed)
        gaussian = PatchGaussian(
            self.epsilon,
            sigma=self.sigma,
            false_alarm_rate=self.false_alarm_rate,
            n_calibration=self.n_calibration,
            device=self.device,
            random_state=seed,
        )
        return Steps(features, channels, gaussian)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Compute the normality of images: minus the maximum of their anomaly maps.

        Parameters
        ----------
        X : images
            See :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_images,)
            Higher = more normal.
        """
        images = self._images(X)
        scores = self._judge().values_by(self._n_jobs(), images, "image_scores")
        return -join_by_image(images, scores, (), np.nan)

    def anomaly_map(
        self, X: Any, *, original_size: bool = False
    ) -> NDArray[np.float32] | list[NDArray[np.float32] | None]:
        """Show where images are anomalous.

        Parameters
        ----------
        X : images
            See :meth:`fit`.
        original_size : bool, default=False
            Resample each map (bilinear) to the size of its image before resizing. What ``crop_size`` or
            ``resize="crop"`` cut away was not looked at, and is NaN.

        Returns
        -------
        ndarray of shape (n_images, height, width), or list of ndarray or None if ``original_size``
            Higher = more anomalous; smoothed Mahalanobis distances. ``score_samples`` is minus the maximum
            at the size that the network sees. Of an image that ``on_error="skip"`` left out it is NaN, and at
            the original size None.
        """
        gaussian = self._fitted_steps()[2]
        images = self._images(X)
        if original_size:
            at_size: list[Any] = [
                found.map for found in self._inspected(images, Request(maps=True, original_size=True))
            ]
            return at_size
        maps = self._judge().values_by(self._n_jobs(), images, "maps")
        return join_by_image(images, maps, gaussian.image_size_, np.nan)

    def segment(
        self, X: Any, *, original_size: bool = False
    ) -> NDArray[np.bool_] | list[NDArray[np.bool_] | None]:
        """Mark the pixels whose anomaly map exceeds the threshold on the image score.

        An image has a marked pixel exactly if ``predict`` says -1: one rule, one false-alarm rate per image,
        not per pixel.

        Parameters
        ----------
        X : images
            See :meth:`fit`.
        original_size : bool, default=False
            Bring each mask to the size of its image before resizing: a pixel is marked if any part of it is.
            What ``crop_size`` or ``resize="crop"`` cut away is not marked.

        Returns
        -------
        ndarray of shape (n_images, height, width), or list of ndarray or None if ``original_size``
            In an image that ``on_error="skip"`` left out nothing is marked; at the original size it is None.
        """
        gaussian = self._fitted_steps()[2]
        images = self._images(X)
        if original_size:
            at_size: list[Any] = [
                found.mask for found in self._inspected(images, Request(masks=True, original_size=True))
            ]
            return at_size
        marks = self._judge().values_by(self._n_jobs(), images, "mark")
        return join_by_image(images, marks, gaussian.image_size_, False)

    def inspect(
        self,
        X: Any,
        *,
        maps: bool = False,
        masks: bool = False,
        regions: bool = False,
        checks: bool = False,
        original_size: bool = False,
        min_area: int = 1,
    ) -> Inspections:
        """Tell everything about images from one pass of the network.

        Scores, p-values and labels are those of ``score_samples``, ``p_values`` and ``predict``, to the bit;
        the rest comes on request.

        Parameters
        ----------
        X : images
            See :meth:`fit`.
        maps, masks : bool, default=False
            Whether to keep anomaly maps, as :meth:`anomaly_map`, and marked pixels, as :meth:`segment`.
        regions : bool, default=False
            Whether to find the connected regions that are marked: box, area and peak of each, in the pixels
            of the image before resizing.
        checks : bool, default=False
            Whether to tell what is unusual about images as photos, as :meth:`check`.
        original_size : bool, default=False
            Whether maps and masks come at the sizes of the images before resizing.
        min_area : int, default=1
            Regions of fewer pixels of the image are left out. Labels and masks stay as they are.

        Returns
        -------
        Inspections
            A sequence of :class:`skpadim.inspection.Inspection`; ``to_frame()`` makes a table of it.

        See Also
        --------
        iter_inspect : One at a time, in constant memory.
        """
        return Inspections(
            self.iter_inspect(
                X,
                maps=maps,
                masks=masks,
                regions=regions,
                checks=checks,
                original_size=original_size,
                min_area=min_area,
            )
        )

    def iter_inspect(
        self,
        X: Any,
        *,
        maps: bool = False,
        masks: bool = False,
        regions: bool = False,
        checks: bool = False,
        original_size: bool = False,
        min_area: int = 1,
    ) -> Iterator[Inspection]:
        """Do what :meth:`inspect` does, and yield an image at a time, in order.

        No more than ``batch_size`` images are held at a time.

        Parameters
        ----------
        X, maps, masks, regions, checks, original_size, min_area
            See :meth:`inspect`.

        Yields
        ------
        skpadim.inspection.Inspection
        """
        images = self._images(X)
        check = self._photo_checker(_CHECK_RATE) if checks else None
        return self._inspected(images, Request(maps, masks, regions, original_size, min_area, check))

    def check(self, X: Any, *, false_alarm_rate: float = _CHECK_RATE) -> list[PhotoCheck]:
        """Tell whether new photos look as good photos do, whatever the part in them, or a camera failed.

        A blurred, blank or badly lit photo may pass as good, as nothing stands out in it. Its size,
        brightness, contrast, sharpness or colours lie outside of what good photos show, or its score is too
        good to be true. So are those of the photos of the fit, which are therefore none to check.

        Parameters
        ----------
        X : images
            See :meth:`fit`.
        false_alarm_rate : float, default=0.01
            Share of good photos that may be outside by what they look like, all statistics together, and as
            many again by their score.

        Returns
        -------
        list of PhotoCheck
            One per photo, without those that ``on_error`` skips. ``ok`` says whether nothing is unusual;
            ``outside`` names what is, with its value, and what good photos show.
        """
        images = self._images(X)
        request = Request(check=self._photo_checker(false_alarm_rate))
        return [found.check for found in self._inspected(images, request) if found.check is not None]

    @property
    def offset_(self) -> float:  # type: ignore[override]
        """Minus the threshold on the image score."""
        return self._fitted_steps()[2].offset_

    @property
    def loo_scores_(self) -> NDArray[np.float64]:  # type: ignore[override]
        """Leave-one-out anomaly scores of training images."""
        return self._fitted_steps()[2].loo_scores_

    @property
    def n_groups_(self) -> int | None:
        """Of how many groups the photos of `loo_scores_` are; None without groups."""
        n_groups: int | None = getattr(self._fitted_steps()[2], "n_groups_", None)
        return n_groups

    @property
    def channel_indices_(self) -> NDArray[np.int64]:
        """Channels kept of the concatenated embedding."""
        return self._fitted_steps()[1].channel_indices_

    def _fitted_steps(self) -> tuple[CNNFeatureTransformer, RandomChannelSelector, PatchGaussian]:
        check_is_fitted(self)
        features, channels, gaussian = self.pipeline_.named_steps.values()
        # What decides no result may be changed. set_params would take a tenth of a single photo's time.
        for name in _FREE:
            setattr(features, name, getattr(self, name))
        return features, channels, gaussian

    def _check_room(
        self,
        steps: Steps,
        images: Images | ArrivingImages,
        n_before: int = 0,
        n_spare: int | None = None,
        *,
        largest_group: int = 1,
    ) -> None:
        """Refuse a fit, before the first photo, for which there surely is too little memory."""
        n_images = n_before + (len(images) if isinstance(images, Images) else self.n_calibration)
        device = resolve_device(self.device)
        plan = self._plan(steps, n_images, n_spare)
        check_room(
            replace(plan, largest_group=largest_group),
            available_bytes(device),
            steps.features.layer_names_,
            device=str(device),
            size_name="image_size" if self.crop_size is None else "crop_size",
        )

    def _plan(self, steps: Steps, n_images: int, n_spare: int | None = None) -> Plan:
        plan = steps.features.plan(steps.kept(), n_images, self.n_calibration, n_spare)
        return replace(plan, n_jobs=self._n_jobs())

    def _images(self, X: Any) -> Images:
        return self._fitted_steps()[0].images(X, on_error=self.on_error)

    def _judge(self) -> Judge:
        features, _, gaussian = self._fitted_steps()
        return Judge(features, self._kept_channels(), gaussian)

    def _n_jobs(self) -> int:
        return jobs_at_hand(self.n_jobs)

    def _inspected(self, images: Images, request: Request) -> Iterator[Inspection]:
        """Yield what is found of each image, in one pass."""
        return self._judge().inspections_by(self._n_jobs(), images, request)

    def _photo_checker(self, false_alarm_rate: float) -> PhotoChecker:
        check_is_fitted(self)
        if not hasattr(self, "photo_statistics_"):
            raise ValueError(
                "check: this detector has not learned what good photos look like. It was saved by a version "
                "of skpadim that did not, or taken over from another program. Fit it again."
            )
        # Photos of groups that were learned score lower than those of groups left out, and are as good.
        alone = getattr(self._fitted_steps()[2], "alone_scores_", None)
        scores = self.loo_scores_ if alone is None else alone
        return PhotoChecker(self.photo_statistics_, scores, false_alarm_rate, self._least_fit())

    def _least_fit(self) -> float | None:
        """Return how well a part must fit to be found; None where photos are taken as they lie."""
        aligner = self._fitted_steps()[0].aligner_
        return None if aligner is None else aligner.least_fit_

    def _kept_channels(self) -> list[NDArray[np.int64]]:
        features, channels, _ = self._fitted_steps()
        return channels.by_layer([shape[0] for shape in features.level_shapes_])

    def _move_threshold(self, rate: float) -> None:
        self._exchange_gaussian(copy.copy(self._fitted_steps()[2]).set_false_alarm_rate(rate))

    def _place_threshold(self, value: float) -> None:
        self._exchange_gaussian(copy.copy(self._fitted_steps()[2]).set_threshold(value))

    def _exchange_gaussian(self, gaussian: PatchGaussian) -> None:
        """Take another last step. A shallow copy of the detector shares its pipeline, and keeps its own."""
        *steps, (name, _) = self.pipeline_.steps
        self.pipeline_ = Pipeline([*steps, (name, gaussian)])

    def __sklearn_tags__(self) -> Tags:
        return describe_image_input(super().__sklearn_tags__())

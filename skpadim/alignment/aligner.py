"""PartAligner: brings the part in each photo to where good photos have it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional

from ..base.checks import check_size
from ..base.devices import host_tensor
from ..base.state import Estimator, rolls_back
from ..images.arrays import Size
from ..images.collection import Images, check_images
from ..images.inputs import describe_image_input
from ..images.placing import WAYS, shares_of
from ..images.resizing import centre_window
from ..images.scales import ValueRange
from .edges import edge_images, grey_on_canvas, make_levels, pyramid
from .misfits import explain_disagreement, explain_misfits, least_fit
from .motion import WHOLE, Motion, Shares
from .registration import Placement, Registration
from .sampling import Sampler
from .search import Limits
from .template import fits_of, learn_template

# Height and width at which the photos of a fit are kept, and at which the mean photo is.
_KEPT = (256, 256)
_BATCH = 32
_FEWEST = 3
_N_NAMED = 3


@dataclass(frozen=True)
class PartPlace:
    """Where the part of a photo was found.

    Attributes
    ----------
    index : int
        Index of the photo in `X`.
    angle : float
        Degrees by which it is turned from the template, clockwise.
    scale : float
        How much larger it is.
    shift : (float, float)
        Rows and columns, in pixels of the photo, from the photo's centre to where the template's centre is
        seen.
    fit : float
        Correlation of its edges with the template's, at most 1.
    found : bool
        Whether it fits as parts do. If not, the photo is taken as it lies.
    """

    index: int
    angle: float
    scale: float
    shift: tuple[float, float]
    fit: float
    found: bool


class PartAligner(TransformerMixin, Estimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Find the part in each photo, and bring it to where good photos have it.

    A template is made of good photos: the mean of the edges of small versions, each moved to where its part
    lies as in the others. In a new photo the part is searched in all turns by the Fourier transform, and then
    to a fraction of a pixel by the inverse compositional algorithm [1]_. The photo is moved and resized by
    one sampling.

    In :class:`PaDiMDetector` it is the parameter ``align``, and what photos do not show counts for nothing
    there; ``image_size`` and ``value_range`` are those of the detector. In front of a Pipeline of your own,
    pass the ``image_size`` of the network, so that photos are resized once; what a photo does not show is
    that of the mean good photo.

    Parameters
    ----------
    motion : {"rigid", "shift"}, default="rigid"
        "rigid": parts turn, shift, and come a little nearer. "shift": they shift alone.
    max_angle : float, default=180.0
        Degrees by which a part may be turned, to either side.
    max_shift : float, default=0.25
        How far a part may be shifted, as a share of the photo's longer side, in each direction; at most 0.5.
    max_scale : float, default=0.05
        Share by which a part may be larger or smaller; at most 0.2.
    n_photos : int, default=200
        A template is made of so many of the photos, evenly spread over them.
    image_size : int or (int, int), default=224
        Height and width in pixels of the photos that ``transform`` returns.
    resize : {"stretch", "pad", "crop"}, default="stretch"
        What becomes of photos of another aspect. "stretch": they are stretched to that of the template. "pad"
        and "crop": the template has the aspect of ``image_size``, and photos keep their own: all of them lies
        in it, or their centre covers it.
    value_range : "auto", "dtype", int or (float, float), default="auto"
        The stored values that are black and white; see :class:`CNNFeatureTransformer`.

    Attributes
    ----------
    aspect_ : float
        Width by height of the template: the middle one of the photos, or, where these are padded or cropped,
        that of ``image_size``.
    edges_, grey_ : ndarray of shape (height, width)
        The template, small: its edges, and how bright it is in [0, 1].
    photo_ : ndarray of shape (256, 256, 3)
        The mean of the aligned good photos, in [0, 1].
    motions_ : ndarray of shape (n_photos, 2), complex
        Turn and shift of each photo of the template; a point ``z = x + iy`` of it, from its centre in units
        of its longer side, is at ``turn * z + shift`` of the photo.
    shares_ : ndarray of shape (n_photos, 2)
        Of the template's height and width, which each of these photos takes: 1 where they are stretched.
    fits_ : ndarray of shape (n_photos,)
        Correlation of the edges of each of these photos with the template of all others.
    least_fit_ : float
        A part that fits less was not found: 0.8 of the middle of `fits_`, or 0.9 of the least that is not
        below half of the middle, whichever is less.

    References
    ----------
    .. [1] S. Baker, I. Matthews, "Lucas-Kanade 20 Years On: A Unifying Framework", International Journal of
       Computer Vision 56, 2004.

    Examples
    --------
    >>> from skpadim import PartAligner
    >>> from skpadim.datasets import make_inspection_images
    >>> photos = make_inspection_images(20, 1, 0, image_size=96, max_angle=8, max_shift=6)
    >>> aligner = PartAligner(image_size=96).fit(photos.X_train)
    >>> aligner.transform(photos.X_test).shape
    (1, 96, 96, 3)
    >>> aligner.locate(photos.X_test)[0].found
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "motion": [StrOptions({"rigid", "shift"})],
        "max_angle": [Interval(Real, 0, 180, closed="both")],
        "max_shift": [Interval(Real, 0, 0.5, closed="right")],
        "max_scale": [Interval(Real, 0, 0.2, closed="both")],
        "n_photos": [Interval(Integral, _FEWEST, None, closed="left")],
        "image_size": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "resize": [StrOptions(set(WAYS))],
        "value_range": [str, Integral, "array-like"],
    }

    #: Files of earlier versions have none.
    shares_: NDArray[np.float64] | None = None

    _rebuilt = ("_registration",)

    def __init__(
        self,
        motion: str = "rigid",
        *,
        max_angle: float = 180.0,
        max_shift: float = 0.25,
        max_scale: float = 0.05,
        n_photos: int = 200,
        image_size: int | tuple[int, int] = 224,
        resize: str = "stretch",
        value_range: ValueRange = "auto",
    ) -> None:
        self.motion = motion
        self.max_angle = max_angle
        self.max_shift = max_shift
        self.max_scale = max_scale
        self.n_photos = n_photos
        self.image_size = image_size
        self.resize = resize
        self.value_range = value_range

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def fit(self, X: Any, y: object = None) -> Self:
        """Make a template of good photos.

        Parameters
        ----------
        X : images
            See :meth:`PaDiMDetector.fit`; at least three. ``n_photos`` of them are decoded, a batch at a
            time.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter is out of range, an image cannot be read, or photos show no edges.

        Warns
        -----
        UserWarning
            If good photos do not agree once they are aligned, or some agree far less than the others do.
        """
        rows, columns = check_size("image_size", self.image_size)
        images = (
            check_images(X, min_images=_FEWEST, value_range=self.value_range)
            if not isinstance(X, Images)
            else X
        )
        pixels, sizes, indices = self._sample(images)
        aspects = [width / height for height, width in sizes]
        self.aspect_ = float(np.median(aspects)) if self.resize == "stretch" else columns / rows
        self.shares_ = np.array([self.shares_of(size) for size in sizes])
        finest = make_levels(self.aspect_)[-1]
        seen = zip(pixels, self.shares(), strict=True)
        grey = torch.cat([grey_on_canvas(one, finest, shares) for one, shares in seen])
        _refuse_blank(grey, [images.describe(index) for index in indices])
        template = learn_template(grey, self.aspect_, self._limits())
        self.grey_, self.edges_ = (plane[0, 0].numpy() for plane in (template.grey, template.edges))
        self.motions_ = np.array([(each.motion.turn, each.motion.shift) for each in template.placements])
        self.fits_ = fits_of(template.placements)
        self.least_fit_ = least_fit(self.fits_)
        for reason in (
            explain_disagreement(self.fits_),
            explain_misfits(self.fits_, indices, images.describe),
        ):
            if reason is not None:
                warnings.warn(reason, UserWarning, stacklevel=4)
        self._registration = self._build()
        self.photo_ = self._mean_photo(pixels)
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Move and resize photos.

        Parameters
        ----------
        X : images
            See :meth:`PaDiMDetector.fit`.

        Returns
        -------
        ndarray of shape (n_images, height, width, 3)
            Of uint8 if all photos are, else of float32 in [0, 1].
        """
        check_is_fitted(self)
        size = check_size("image_size", self.image_size)
        images = check_images(X, value_range=self.value_range)
        batches = images.batches(_BATCH, size, None, 1, place=self.placer(size, size))
        parts = [batch.pixels.permute(0, 2, 3, 1) for batch in batches]
        if len({part.dtype for part in parts}) > 1:
            parts = [part if part.is_floating_point() else part / 255 for part in parts]
        moved: NDArray[Any] = torch.cat(parts).contiguous().numpy()
        return moved

    def locate(self, X: Any) -> list[PartPlace]:
        """Tell where the part of each photo lies.

        Parameters
        ----------
        X : images
            See :meth:`PaDiMDetector.fit`.

        Returns
        -------
        list of PartPlace
        """
        check_is_fitted(self)
        images = check_images(X, value_range=self.value_range)
        placed: list[PartPlace] = []
        for batch in images.batches(_BATCH, _KEPT, None, 1):
            for index, pixels, size in zip(batch.indices, batch.pixels, batch.original_sizes, strict=True):
                placed.append(self._described(index, self.place(pixels[None], self.shares_of(size)), size))
        return placed

    @torch.inference_mode()
    def place(self, pixels: Tensor, shares: Shares = WHOLE) -> Placement:
        """Return where the part lies in a photo (1, 1 or 3, height, width), uint8 or floats in [0, 1].

        The photo takes these shares of the template's height and width.
        """
        registration = self._ready()
        grey = grey_on_canvas(pixels, registration.levels[-1], shares)
        return registration.find(grey, pyramid(edge_images(grey), registration.levels))

    def placer(self, resized: Size, seen: Size) -> Callable[[Tensor, Size], tuple[Tensor, Placement]]:
        """Return what takes a photo (1, h, w, channels) to what the network sees (1, height, width, 3) of it.

        Parameters
        ----------
        resized : (int, int)
            Height and width that photos are resized to.
        seen : (int, int)
            Height and width of the centre that is kept.
        """
        sampler = Sampler(self.aspect_, resized, seen)
        in_shares = self._fill(resized, seen)
        in_bytes = 255 * in_shares
        self._ready()

        def placed(pixels: Tensor, size: Size) -> tuple[Tensor, Placement]:
            taken = self.shares_of(size)
            reduced = sampler.reduce(pixels, taken)
            placement = self.place(reduced.permute(0, 3, 1, 2), taken)
            fill = in_shares if pixels.is_floating_point() else in_bytes
            return sampler.sample(reduced, self.motion_of(placement), fill, taken), placement

        return placed

    def found(self, placement: Placement) -> bool:
        """Return whether a part fits as parts do."""
        return placement.fit >= self.least_fit_

    def motion_of(self, placement: Placement) -> Motion:
        """Return how a photo is moved: not at all where its part was not found."""
        return placement.motion if self.found(placement) else Motion()

    def motions(self) -> list[Motion]:
        """Return how the photos of the template are moved."""
        return [
            self.motion_of(Placement(Motion(complex(turn), complex(shift)), float(fit)))
            for (turn, shift), fit in zip(self.motions_, self.fits_, strict=True)
        ]

    def shares_of(self, size: Size) -> Shares:
        """Return which shares of the template's height and width a photo of a size takes."""
        return shares_of(size, self.aspect_, self.resize)

    def shares(self) -> list[Shares]:
        """Return which shares of the template's height and width its photos take."""
        if self.shares_ is None:
            return [WHOLE] * len(self.motions_)
        return [(down, across) for down, across in self.shares_.tolist()]

    def identity(self) -> tuple[Any, ...]:
        """Return what decides how photos are moved."""
        limits = self._limits()
        return (
            "aligned",
            self.edges_,
            self.grey_,
            self.photo_,
            self.aspect_,
            self.least_fit_,
            *astuple(limits),
            *(() if self.resize == "stretch" else (self.resize,)),
        )

    def _sample(self, images: Images) -> tuple[list[Tensor], list[Size], list[int]]:
        """Return evenly spread photos (1, 3, h, w) that are small, the sizes they came with, and which."""
        chosen = images.spread(self.n_photos)
        pixels: list[Tensor] = []
        sizes: list[Size] = []
        indices: list[int] = []
        for batch in images.batches(_BATCH, _KEPT, None, 1, only=chosen):
            pixels.extend(batch.pixels.split(1))
            sizes.extend(batch.original_sizes)
            indices.extend(batch.indices)
        if len(pixels) < _FEWEST:
            raise ValueError(
                f"Found {len(pixels)} image(s) that can be read among the {len(chosen)} that make a "
                f"template, at least {_FEWEST} are needed."
            )
        return pixels, sizes, indices

    def _mean_photo(self, pixels: Sequence[Tensor]) -> NDArray[np.float32]:
        """Return the mean (height, width, 3) of small photos, in [0, 1], each where it shows the template."""
        sampler = Sampler(self.aspect_, _KEPT, _KEPT)
        total, weight = torch.zeros(*_KEPT, 3), torch.zeros(*_KEPT, 1)
        nothing = torch.zeros(3, *_KEPT)
        for one, motion, taken in zip(pixels, self.motions(), self.shares(), strict=True):
            shares = one.permute(0, 2, 3, 1) if one.is_floating_point() else one.permute(0, 2, 3, 1) / 255
            total += sampler.sample(shares, motion, nothing, taken)[0]
            weight += (~sampler.outside(motion, taken))[..., None]
        # What no photo shows has the colour of what photos show on average.
        colour = total.sum((0, 1)) / weight.sum().clamp(min=1)
        photo: NDArray[np.float32] = torch.where(weight > 0, total / weight.clamp(min=1), colour).numpy()
        return photo

    def _fill(self, resized: Size, seen: Size) -> Tensor:
        rows, columns = centre_window(resized, seen)
        planes = host_tensor(self.photo_).permute(2, 0, 1)[None]
        whole = functional.interpolate(planes, resized, mode="bilinear", antialias=True)
        return whole[0, :, rows, columns].contiguous()

    def _described(self, index: int, placement: Placement, size: Size) -> PartPlace:
        motion, (of_height, of_width) = placement.motion, self.shares_of(size)
        across = motion.shift.real * size[1] / of_width * max(1.0, 1 / self.aspect_)
        down = motion.shift.imag * size[0] / of_height * max(1.0, self.aspect_)
        return PartPlace(
            index, motion.angle, motion.scale, (down, across), placement.fit, self.found(placement)
        )

    def _limits(self) -> Limits:
        turns = self.motion == "rigid"
        return Limits(
            angle=float(self.max_angle) if turns else 0.0,
            shift=float(self.max_shift),
            scale=float(self.max_scale) if turns else 0.0,
        )

    def _ready(self) -> Registration:
        """Return the template ready for photos, built again where a file was loaded."""
        if not hasattr(self, "_registration"):
            self._registration = self._build()
        return self._registration

    def _build(self) -> Registration:
        grey, edges = (host_tensor(plane)[None, None] for plane in (self.grey_, self.edges_))
        return Registration(grey, edges, self.aspect_, self._limits())

    def __sklearn_tags__(self) -> Tags:
        return describe_image_input(super().__sklearn_tags__())


def _refuse_blank(grey: Tensor, names: Sequence[str]) -> None:
    """Raise if photos (n, 1, h, w) show no edges, naming some."""
    blank = [name for name, edges in zip(names, edge_images(grey).flatten(1), strict=True) if not edges.any()]
    if blank:
        named = ", ".join(blank[:_N_NAMED])
        raise ValueError(
            f"{len(blank)} of {len(names)} photos are of one colour, without an edge, the first: {named}. A "
            "part is found by its edges. Leave such photos out, or pass align=None."
        )

"""ScoreDisplay: the scores from which a threshold was made, and those of photos never seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from .checks import are_names, check_names, check_scores, check_threshold
from .figures import figure_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

# Masaki Okabe and Kei Ito, "Color Universal Design", 2008: told apart with any kind of colour vision. Where
# there is no colour, markers and rows tell the groups apart.
_DEFECTIVE = {"color": "#d55e00", "marker": "^"}
_GROUP_STYLES = {
    "leave-one-out": {"color": "#0072b2", "facecolor": "none", "marker": "o"},
    "unseen good": {"color": "#0072b2", "marker": "o"},
}
_ROW_HEIGHT = 0.65  # inches, of each row beyond the third
# Irrational, hence neighbours in a row of scores never come to the same height.
_GOLDEN_RATIO = (np.sqrt(5) - 1) / 2


class ScoreDisplay:
    r"""Anomaly scores around a threshold: those it was made from, and those of photos never seen.

    Make one with :meth:`from_estimator` or :meth:`from_scores`; the parameters are stored as attributes.

    Parameters
    ----------
    loo_scores : array-like of shape (n_calibration,)
        Leave-one-out scores of training images; higher = more anomalous, as all scores here.
    scores : array-like of shape (n_images,)
        Of images that the detector did not learn from: minus ``score_samples``.
    y : array-like of shape (n_images,)
        +1 for a good part, -1 for a defective one; or names, ``"good"`` and kinds of defects, each a row of
        its own.
    threshold : float
        The anomaly score above which an image is an anomaly: minus ``offset_``.

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure
    line_ : Line2D
        The threshold.

    See Also
    --------
    AnomalyMapDisplay : Where the anomalies are.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skpadim import ScoreDisplay
    >>> display = ScoreDisplay.from_scores([1.0, 2.0, 3.0], [1.5, 2.5, 9.0], [1, 1, -1], threshold=3.0)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['leave-one-out\n0 of 3 above', 'unseen good\n0 of 2 above', 'unseen defective\n1 of 1 above']
    >>> plt.close(display.figure_)
    """

    def __init__(self, loo_scores: ArrayLike, scores: ArrayLike, y: ArrayLike, threshold: float) -> None:
        self.loo_scores = check_scores("loo_scores", loo_scores)
        self.scores = check_scores("scores", scores)
        self.y = check_names(y, len(self.scores))
        self.threshold = check_threshold(threshold)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: ArrayLike, *, ax: Axes | None = None, **scatter: Any
    ) -> Self:
        """Draw the scores of images by a fitted estimator.

        Parameters
        ----------
        estimator : PaDiMDetector or PatchGaussian
            Fitted.
        X : images, or what the estimator scores
            None that it was fitted on: their scores are too low.
        y : array-like of shape (n_images,)
            +1 for a good part, -1 for a defective one; or ``"good"`` and the names of defects.
        ax, **scatter
            See :meth:`plot`.

        Returns
        -------
        ScoreDisplay

        Raises
        ------
        TypeError
            If the estimator has no leave-one-out scores.
        ValueError
            If an image cannot be read, or ``y`` is not a +1 or -1, or a name, for each.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        if not len(getattr(estimator, "loo_scores_", ())):
            raise TypeError(
                f"estimator is a {type(estimator).__name__}, which has no loo_scores_; pass a PaDiMDetector, "
                "or the last step of a Pipeline with the features that it scores."
            )
        scores = -estimator.score_samples(X)
        return cls(estimator.loo_scores_, scores, y, estimator.threshold()).plot(ax, **scatter)

    @classmethod
    def from_scores(
        cls,
        loo_scores: ArrayLike,
        scores: ArrayLike,
        y: ArrayLike,
        threshold: float,
        *,
        ax: Axes | None = None,
        **scatter: Any,
    ) -> Self:
        """Draw scores that are there already.

        Parameters
        ----------
        loo_scores, scores, y, threshold
            See :class:`ScoreDisplay`.
        ax, **scatter
            See :meth:`plot`.

        Returns
        -------
        ScoreDisplay

        Raises
        ------
        ValueError
            If scores or threshold are not finite, or ``y`` is not a +1 or -1, or a name, for each.
        """
        check_matplotlib_support(f"{cls.__name__}.from_scores")
        return cls(loo_scores, scores, y, threshold).plot(ax, **scatter)

    def plot(self, ax: Axes | None = None, **scatter: Any) -> Self:
        """Draw a row of scores for each group of images, and the threshold through all of them.

        Where a score stands within its row means nothing: it only keeps the scores apart.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw. None: a new figure.
        **scatter
            Passed on to :meth:`matplotlib.axes.Axes.scatter` for every group, such as ``s=10`` or
            ``edgecolor="black"``.

        Returns
        -------
        self
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.collections import PathCollection

        style = normalize_kwargs(scatter, PathCollection)
        if "c" in style and "color" not in style:
            style["color"] = style.pop("c")
        groups = {"leave-one-out": self.loo_scores} | self._unseen()
        if ax is None:
            height = 3.2 + _ROW_HEIGHT * max(0, len(groups) - 3)
            _, ax = plt.subplots(figsize=(7, height), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        labels = []
        for row, (name, scores) in enumerate(groups.items()):
            heights = row + 0.6 * ((0.5 + np.arange(len(scores)) * _GOLDEN_RATIO) % 1 - 0.5)
            ax.scatter(np.sort(scores), heights, **(_GROUP_STYLES.get(name, _DEFECTIVE) | style))
            labels.append(f"{name}\n{np.sum(scores > self.threshold)} of {len(scores)} above")
        self.line_ = ax.axvline(self.threshold, color="black", linestyle="--", label="threshold")
        ax.set(yticks=range(len(labels)), xlabel="anomaly score")
        ax.set_yticklabels(labels, parse_math=False)
        ax.set_ylim(len(labels) - 0.5, -1)
        ax.legend(loc="upper right", framealpha=0.5, borderaxespad=0.2)  # above all scores
        return self

    def to_pil(self, dpi: float = 100) -> Image:
        """Return the figure as a PIL image, drawn first where it is not yet.

        Parameters
        ----------
        dpi : float, default=100
            Pixels per inch.

        Returns
        -------
        PIL.Image.Image
            RGB.
        """
        if not hasattr(self, "figure_"):
            self.plot()
        return figure_image(self.figure_, dpi)

    def _unseen(self) -> dict[str, NDArray[np.float64]]:
        """Return the scores of each kind of part; kinds of defects in the order in which they come."""
        if not are_names(self.y):
            good, defective = self.scores[self.y == 1], self.scores[self.y == -1]
            return {"unseen good": good, "unseen defective": defective}
        kinds = sorted(dict.fromkeys(self.y), key=lambda kind: kind != "good")
        return {f"unseen {kind}": self.scores[self.y == kind] for kind in kinds}

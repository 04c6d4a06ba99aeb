"""Has the line drifted? Evidence grows photo by photo, and false alarms are bounded in runs of any length.

Every new score is ranked among all scores before it: those of the fit, and those of the line; so is what the
photo looks like. As long as nothing has changed, that is, photos are exchangeable, the ranks are independent
and uniform, and no game that bets on them makes anybody rich. :class:`LineMonitor` plays such games, and
their capital is the evidence that the line has drifted.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .base.randomness import draw_seed
from .base.whole_files import beside
from .camera import LOOKED_AT, PhotoCheck, n_beyond, with_detail
from .evidence import N_CHECK_BETS, Evidence, RankGame, check_factors
from .images.digests import digest

# Part of the risk of a false alarm, which adds up, that the game on scores has. All others share the rest.
_RISK_OF_SCORES = 0.5
_SCORE, _CHECK = "score", "check"
_STREAM = 0x11E  # any number that nobody else spawns
_FORMAT = "skpadim line monitor"
_VERSION = 1
_FIELDS = {
    "detector",
    "alarm_at",
    "check_rate",
    "seed",
    "reference",
    "state",
    "numbers",
    "counts",
    "evidence",
}


@dataclass(frozen=True)
class LineState:
    """What a :class:`LineMonitor` knows after a photo.

    Attributes
    ----------
    n_photos : int
        Photos since the monitor began.
    n_unreadable : int
        Those without a score, which say nothing.
    n_checked, n_unusual : int
        Photos that came with a check, and those of them that look unusual, whatever their score.
    evidence : float
        That the line has drifted: about 1 or less while it has not. 1,000 is strong.
    drifted : bool
        Whether the evidence has reached ``alarm_at`` at any time.
    first_alarm : int or None
        After which photo it did, counted from 0.
    noticed_by : str or None
        What has changed: "score", a name of `skpadim.camera.LOOKED_AT`, such as "brightness", or "check":
        more photos look unusual, one way or another.
    direction : {"higher", "lower"} or None
        Whether it is higher or lower than it was; None of "check".
    """

    n_photos: int = 0
    n_unreadable: int = 0
    n_checked: int = 0
    n_unusual: int = 0
    evidence: float = _RISK_OF_SCORES
    drifted: bool = False
    first_alarm: int | None = None
    noticed_by: str | None = None
    direction: str | None = None

    def __str__(self) -> str:
        """Say it in words."""
        counts = f"{self.n_photos} photos, {self.n_unreadable} unreadable"
        if self.n_checked:
            counts += f", {self.n_unusual} of {self.n_checked} checked look unusual"
        if not self.drifted:
            return f"no drift (evidence {self.evidence:.3g}; {counts})"
        what = f"{self.noticed_by} is {self.direction}" if self.direction else "too many photos look unusual"
        return f"drift, noticed at photo {self.first_alarm}: {what} ({counts})"


class LineMonitor:
    """Watch a line photo by photo, and say when it has drifted.

    Parameters
    ----------
    detector : estimator
        Fitted, with ``loo_scores_``: a :class:`skpadim.PaDiMDetector`, or the last step of a Pipeline.
    alarm_at : float, default=1000
        Evidence at which the line has drifted. While nothing has changed it is ever reached, however long the
        line runs, with a probability of at most ``1 / alarm_at``. More than 1.
    check_rate : float, default=0.01
        The ``false_alarm_rate`` that was passed to ``detector.check``; in (0, 1).
    reference : array-like of shape (n_photos,), optional
        Anomaly scores of good photos that were not learned, to compare with first. Default: ``loo_scores_``,
        or none where these are of groups left out: photos of groups that were learned score lower.
    random_state : int, RandomState instance or None, default=0
        Decides the order of equal scores. The same number and photos give the same evidence.

    Attributes
    ----------
    state : LineState

    Notes
    -----
    A conformal test martingale (Vovk, Nouretdinov and Gammerman, "Testing exchangeability on-line", ICML
    2003): the p-value of every score is its rank among all before it, those of the reference and of the line,
    equal ones in random order. If all are exchangeable these p-values are independent and uniform, for ever.
    p-values by a reference that never grows would not be: they share its sampling error, and alarm sooner or
    later for nothing else. The bets are mixed over directions, sizes, and the moment of the change.

    Leave-one-out scores come from fits with one photo less, and are only nearly exchangeable with new scores.
    With a ``reference`` of photos held out, or an empty one, the guarantee is exact.

    What photos look like makes other games. Each number that `check` looks at is ranked as scores are, among
    those of photos of the fit: no fit is between them, and the guarantee is exact. And the ranges of `check`
    end at the k-th largest deviation of n photos: after m of the line, u of them outside, the next is so with
    a probability of ``(k + u) / (n + m + 1)`` at most, and a game gains by more. Scores have half of the
    risk of a false alarm, and all others share the rest: how they depend on each other is no matter.

    Scores are compared by their first five digits. So memory is bounded, at some MB, however many come.

    References
    ----------
    .. [1] V. Vovk, I. Nouretdinov, A. Gammerman, "Testing exchangeability on-line", ICML, 2003.
    .. [2] V. Vovk, "Testing randomness online", Statistical Science 36, 2021.
    .. [3] J. Ville, "Étude critique de la notion de collectif", Gauthier-Villars, 1939.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim import PatchGaussian
    >>> from skpadim.monitoring import LineMonitor
    >>> rng = np.random.default_rng(0)
    >>> detector = PatchGaussian().fit(rng.normal(size=(100, 3)))
    >>> monitor = LineMonitor(detector)
    >>> monitor.update_many(-detector.score_samples(rng.normal(size=(300, 3)))).drifted
    False
    >>> print(monitor.update_many(-detector.score_samples(rng.normal(size=(50, 3)) * 2)))
    drift, noticed at photo 314: score is higher (350 photos, 0 unreadable)
    """

    def __init__(
        self,
        detector: Any,
        *,
        alarm_at: float = 1000.0,
        check_rate: float = 0.01,
        reference: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self._detector = _detector_digest(detector)
        self.alarm_at = _number("alarm_at", alarm_at, 1.0, math.inf)
        self.check_rate = _number("check_rate", check_rate, 0.0, 1.0)
        learned = getattr(detector, "photo_statistics_", None)
        self._looks = [] if learned is None else with_detail(learned).T.tolist()
        scores = _own_reference(detector) if reference is None else reference
        self._reference = [_checked_score(score, "reference") for score in np.ravel(scores).tolist()]
        if any(math.isnan(score) for score in self._reference):
            raise ValueError("reference holds NaN, the score of a photo that cannot be read. Leave it out.")
        self._seed = draw_seed(random_state)
        self.reset()

    def reset(self) -> None:
        """Begin anew, with the scores of the reference alone: after a repair, say.

        The bound on false alarms is one per beginning.
        """
        looks = dict(zip(LOOKED_AT, self._looks, strict=False))
        references = {_SCORE: self._reference} | looks
        self._games = {name: RankGame(numbers) for name, numbers in references.items()}
        self._by_checks = Evidence(N_CHECK_BETS)
        self.state = LineState()

    def update(self, score: float, check: PhotoCheck | None = None) -> LineState:
        """Take the next photo.

        Parameters
        ----------
        score : float
            Its anomaly score, ``-detector.score_samples``. NaN, a photo that cannot be read, is counted only.
        check : PhotoCheck, optional
            What ``detector.check`` says of it.

        Returns
        -------
        LineState

        Raises
        ------
        TypeError, ValueError
            If the score is no number, negative or infinite, or the check none; the photo is not taken.
        """
        score = _checked_score(score, "score")
        if check is not None:
            self._refuse_no_check(check)
        is_readable = not math.isnan(score)
        if is_readable:
            self._play({} if check is None else check.values, score)
            if check is not None:
                self._by_checks.update(check_factors(_looks_unusual(check), self._expected_unusual()))
        self.state = self._next_state(is_readable, check)
        return self.state

    def update_many(self, scores: ArrayLike, checks: Sequence[PhotoCheck] | None = None) -> LineState:
        """Take several photos, in their order.

        Parameters
        ----------
        scores : array-like of shape (n_photos,)
            ``-detector.score_samples(X)``.
        checks : sequence of PhotoCheck, optional
            ``detector.check(X)`` of the same X.

        Returns
        -------
        LineState
            After the last.

        Raises
        ------
        TypeError, ValueError
            As of `update`, or if a check is of no photo among them; none is taken.
        """
        if np.ndim(scores) != 1:
            raise ValueError(f"scores must have shape (n_photos,), got {np.shape(scores)}.")
        taken = [_checked_score(score, f"scores[{n}]") for n, score in enumerate(np.asarray(scores).tolist())]
        for check in checks or ():
            self._refuse_no_check(check)
        by_index = {check.index: check for check in checks or ()}
        strangers = sorted(by_index.keys() - set(range(len(taken))))
        if strangers:
            raise ValueError(
                f"checks are of photo {strangers[0]}, but there are {len(taken)} scores. Pass the checks "
                "and the scores of the same X."
            )
        for index, score in enumerate(taken):
            self.update(score, by_index.get(index))
        return self.state

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything into a JSON file, whole or not at all.

        Parameters
        ----------
        path : str or path
        """
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "detector": self._detector,
            "alarm_at": self.alarm_at,
            "check_rate": self.check_rate,
            "seed": self._seed,
            "reference": self._reference,
            "state": asdict(self.state),
            "numbers": {name: game.ranking.values.tolist() for name, game in self._games.items()},
            "counts": {name: game.ranking.counts.tolist() for name, game in self._games.items()},
            "evidence": {
                name: [evidence.n_photos, *evidence.log_capital.tolist()]
                for name, evidence in self._evidence().items()
            },
        }
        with beside(path) as part:
            part.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str], detector: Any) -> Self:
        """Go on where a saved monitor stood.

        Parameters
        ----------
        path : str or path
        detector : estimator
            The same as then.

        Returns
        -------
        LineMonitor

        Raises
        ------
        ValueError
            If the file is no monitor's, of a newer version, or of another detector.
        """
        content = _read(path)
        if content["detector"] != _detector_digest(detector):
            raise ValueError(
                f"{os.fspath(path)!r} is of a line that another detector watched: its leave-one-out scores "
                "differ. Load the detector of that line, or begin anew with LineMonitor(detector)."
            )
        monitor = cls(
            detector,
            alarm_at=content["alarm_at"],
            check_rate=content["check_rate"],
            reference=content["reference"],
            random_state=content["seed"],
        )
        monitor.state = LineState(**content["state"])
        for name, game in monitor._games.items():
            game.ranking.values = np.array(content["numbers"][name], dtype=np.float64)
            game.ranking.counts = np.array(content["counts"][name], dtype=np.int64)
        for name, evidence in monitor._evidence().items():
            evidence.n_photos, *capital = content["evidence"][name]
            evidence.log_capital = np.array(capital, dtype=np.float64)
        return monitor

    def _refuse_no_check(self, check: Any) -> None:
        if not isinstance(check, PhotoCheck):
            raise TypeError(f"check={check!r} must be a PhotoCheck, as detector.check(X) returns, or None.")
        if not self._looks:
            raise ValueError("check: this detector did not learn what photos look like. Pass scores alone.")

    def _play(self, looks: Mapping[str, float], score: float) -> None:
        """Rank the score of a photo, and what it looks like, among all before."""
        n_readable = self.state.n_photos - self.state.n_unreadable
        ties = np.random.default_rng([_STREAM, self._seed, n_readable]).random(len(self._games))
        numbers = {**looks, _SCORE: score}
        for (name, game), tie in zip(self._games.items(), ties.tolist(), strict=True):
            if not math.isnan(numbers.get(name, math.nan)):
                game.update(numbers[name], tie)

    def _evidence(self) -> dict[str, Evidence]:
        """Return the evidence of all games, by name."""
        return {**{name: game.evidence for name, game in self._games.items()}, _CHECK: self._by_checks}

    def _expected_unusual(self) -> float:
        """Return how probable it is that the next photo looks unusual, if nothing has changed."""
        n_learned = len(self._looks[0])
        n_beyond_end = n_beyond(n_learned, self.check_rate) + self.state.n_unusual
        return n_beyond_end / (n_learned + self.state.n_checked + 1)

    def _next_state(self, is_readable: bool, check: PhotoCheck | None) -> LineState:
        before = self.state
        found = self._evidence()
        totals = {name: math.log(_risk(name)) + float(game.log_total) for name, game in found.items()}
        strongest = max(totals, key=totals.__getitem__)
        # Capped: JSON knows no infinity.
        evidence = math.exp(min(totals[strongest], 700.0))
        alarm = (before.first_alarm, before.noticed_by, before.direction)
        if not before.drifted and evidence >= self.alarm_at:
            direction = None if strongest == _CHECK else self._games[strongest].direction
            alarm = (before.n_photos, strongest, direction)
        is_checked = is_readable and check is not None
        return LineState(
            before.n_photos + 1,
            before.n_unreadable + (not is_readable),
            before.n_checked + is_checked,
            before.n_unusual + (check is not None and is_checked and _looks_unusual(check)),
            evidence,
            alarm[0] is not None,
            *alarm,
        )


def _risk(name: str) -> float:
    """Return the part of the risk of a false alarm that a game has."""
    return _RISK_OF_SCORES if name == _SCORE else (1 - _RISK_OF_SCORES) / (len(LOOKED_AT) + 1)


def _looks_unusual(check: PhotoCheck) -> bool:
    """Tell whether anything but its score is unusual about a photo: scores are watched as such."""
    return bool(check.outside.keys() - {"score"})


def _detector_digest(detector: Any) -> str:
    check_is_fitted(detector)
    if not hasattr(detector, "loo_scores_"):
        raise TypeError(
            f"detector={type(detector).__name__} has no loo_scores_: pass a fitted PaDiMDetector, or the "
            "last step of a Pipeline of its steps."
        )
    return digest(detector.loo_scores_)


def _own_reference(detector: Any) -> ArrayLike:
    """Return the scores of the fit that new ones are like; none where each is without a whole group."""
    by_groups = getattr(detector, "n_groups_", None) is not None
    return () if by_groups else detector.loo_scores_


def _number(name: str, value: Any, low: float, high: float) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name}={value!r} must be a number.")
    if not low < float(value) < high:
        raise ValueError(f"{name}={value!r} must be in ({low:g}, {high:g}).")
    return float(value)


def _checked_score(score: Any, name: str) -> float:
    if not isinstance(score, Real) or isinstance(score, bool | np.bool_):
        raise TypeError(f"{name}={score!r} must be a number, the anomaly score of a photo.")
    if score < 0 or math.isinf(score):
        raise ValueError(
            f"{name}={score!r} must be finite and at least 0: anomaly scores are -detector.score_samples(X), "
            "higher = more anomalous."
        )
    return float(score)


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a file that `LineMonitor.save` wrote."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)!r} is no file of a LineMonitor: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f"{os.fspath(path)!r} is no file of a LineMonitor.")
    if content.get("version", 0) > _VERSION:
        raise ValueError(
            f"{os.fspath(path)!r} has version {content['version']}, and this skpadim reads up to {_VERSION}. "
            "Use the skpadim that wrote it, or a newer one."
        )
    lacking = _FIELDS - content.keys()
    if lacking:
        raise ValueError(
            f"{os.fspath(path)!r} is a damaged file of a LineMonitor, without {', '.join(sorted(lacking))}: "
            "delete it, and begin anew."
        )
    return content

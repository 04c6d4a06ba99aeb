"""The file of a fitted detector that the command `skpadim` writes and reads, ``line3.skpadim``.

It is a zip, and a file of skops: ``skops.io.load("line3.skpadim", trusted=TRUSTED_TYPES)`` gives the
detector, and executes nothing that the file chooses. Beside the detector it holds ``card.json``, what a
person wants to know of it, and small pictures of those training photos that are least like the others.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base.whole_files import beside

if TYPE_CHECKING:
    from .detector import PaDiMDetector

__all__ = ["FORMAT", "Model", "describe", "load_model", "read_card", "save_model"]

#: The format of cards that this version writes; newer ones are refused.
FORMAT = 1

_CARD = "card.json"
_SCHEMA = "schema.json"  # of skops
_THUMBNAILS = "training/"
_PICKLED = (".joblib", ".pkl", ".pickle")
_OF_THE_FIT = ("created", "versions")
_EXPECTED = "expected a file that 'skpadim fit' or skpadim.model_file.save_model wrote"


@dataclass(frozen=True, eq=False)
class Model:
    """A detector from a file, and what the file says of it.

    Attributes
    ----------
    detector : PaDiMDetector
    card : dict
        See `describe`; of a ``.skpadim`` file also what was known when it was fitted, and of others without
        ``created`` and ``versions``.
    digest : str
        SHA-256 of the file, in hexadecimal: verdicts name it.
    path : Path
    """

    detector: PaDiMDetector
    card: dict[str, Any]
    digest: str
    path: Path
    _thumbnails: dict[str, bytes] = field(default_factory=dict, repr=False)

    def thumbnails(self) -> dict[str, bytes]:
        """Return small JPEGs of some training photos, by the names that ``card["training"]`` has for them."""
        return dict(self._thumbnails)


def describe(detector: PaDiMDetector) -> dict[str, Any]:
    """Return the card of a fitted detector: what it knows of itself.

    Parameters
    ----------
    detector : PaDiMDetector
        Fitted.

    Returns
    -------
    dict
        It can be written as JSON. ``format``; ``created``, now, in UTC; ``versions`` of skpadim, torch,
        scikit-learn and Python; ``n_photos``, how many were learned; ``network``, ``layers``, ``n_channels``,
        ``image_size`` and ``crop_size``, (height, width); ``resize``; ``decoding``; ``align``, how
        parts are moved, "rigid", "shift" or None, and ``align_by_auto``, whether ``align="auto"`` decided
        that; ``patch_stride``; ``ignore``, whether there is a mask; ``n_groups``, None without groups;
        ``false_alarm_rate``, None if the threshold was set as a score; ``threshold``; ``skipped``, by index;
        ``training``, a list of ``path`` (None here), ``index`` and ``loo_score`` of the photos with
        leave-one-out scores, the highest first. Cards of earlier versions lack some.

    Examples
    --------
    >>> from skpadim import PaDiMDetector
    >>> from skpadim.datasets import make_inspection_images
    >>> photos = make_inspection_images(n_train=20, n_good=0, n_defective=0, image_size=64)
    >>> card = describe(PaDiMDetector(weights=None, image_size=64).fit(photos.X_train))
    >>> card["network"], card["n_photos"], card["image_size"]
    ('efficientnet_lite0', 20, [64, 64])
    """
    from .base.checks import check_size
    from .decisions import decisions

    features, channels, gaussian = detector.pipeline_.named_steps.values()
    backbone = detector.backbone
    scores = detector.loo_scores_
    # A file of an earlier version does not say of which photos the scores are.
    indices = getattr(detector, "loo_indices_", [None] * len(scores))
    training: list[dict[str, Any]] = [
        {"path": None, "index": None if index is None else int(index), "loo_score": float(score)}
        for index, score in zip(indices, scores, strict=True)
    ]
    crop = detector.crop_size
    return {
        "format": FORMAT,
        "name": None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "folder": None,
        "n_photos": int(gaussian.n_samples_seen_),
        "network": backbone if isinstance(backbone, str) else type(backbone).__name__,
        "layers": [str(name) for name in features.layer_names_],
        "n_channels": len(channels.channel_indices_),
        "image_size": list(check_size("image_size", detector.image_size)),
        "resize": detector.resize,
        "decoding": detector.decoding,
        "crop_size": None if crop is None else list(check_size("crop_size", crop)),
        **decisions(detector),
        "false_alarm_rate": rate_in_force(detector),
        "threshold": -float(detector.offset_),
        "skipped": {str(index): reason for index, reason in getattr(detector, "skipped_", {}).items()},
        "training": sorted(training, key=lambda row: -row["loo_score"]),
    }


def save_model(
    detector: PaDiMDetector,
    path: str | os.PathLike[str],
    *,
    card: Mapping[str, Any] | None = None,
    thumbnails: Mapping[str, bytes] | None = None,
) -> None:
    """Write a fitted detector into a model file, whole or not at all.

    Parameters
    ----------
    detector : PaDiMDetector
        Fitted, with its backbone given by its name. Its callbacks are taken off in the file.
    path : str or path
        By convention it ends in ``.skpadim``. An earlier file there is replaced in the end.
    card : mapping, optional
        What to say of the detector beside what `describe` returns, and instead of it.
    thumbnails : mapping of str to bytes, optional
        JPEGs, by names that begin with ``training/``.

    Raises
    ------
    ImportError
        If skops is not installed.
    ValueError
        If the detector cannot be written, or a thumbnail has another name.

    Examples
    --------
    >>> import tempfile
    >>> from skpadim import PaDiMDetector
    >>> from skpadim.datasets import make_inspection_images
    >>> photos = make_inspection_images(n_train=20, n_good=0, n_defective=0, image_size=64)
    >>> detector = PaDiMDetector(weights=None, image_size=64).fit(photos.X_train)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(detector, f"{folder}/line3.skpadim", card={"name": "line 3"})
    ...     model = load_model(f"{folder}/line3.skpadim")
    >>> model.card["name"], model.detector.offset_ == detector.offset_
    ('line 3', True)
    """
    skops_io = _import_skops()
    described = {**describe(detector), **(card or {}), "format": FORMAT}
    strange = [name for name in thumbnails or () if not name.startswith(_THUMBNAILS)]
    if strange:
        raise ValueError(f"thumbnails: {strange[0]!r} must begin with {_THUMBNAILS!r}.")
    bare = _bare(detector)
    with beside(path) as part:
        skops_io.dump(bare, part)
        _refuse_strangers(skops_io.get_untrusted_types(file=part))
        with zipfile.ZipFile(part, "a") as file:
            file.writestr(_CARD, json.dumps(described, indent=1), zipfile.ZIP_DEFLATED)
            for name, content in (thumbnails or {}).items():
                file.writestr(name, content)


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file, and execute nothing that it chooses.

    Parameters
    ----------
    path : str or path
        A ``.skpadim`` file, or a ``.skops`` file of a PaDiMDetector. A ``.joblib`` or pickle file is read,
        too, with a warning: it can run any program.

    Returns
    -------
    Model
        Of its detector ``memory`` and ``checkpoint`` are None: it writes to no folder that a file names.

    Raises
    ------
    ImportError
        If skops is not installed.
    ValueError
        If there is no such file, it is damaged or of a newer version, or holds anything but a fitted
        PaDiMDetector.

    Warns
    -----
    UserWarning
        Of a pickle.
    """
    path = Path(path)
    _refuse_absent(path)
    if path.suffix.lower() in _PICKLED:
        detector, card, thumbnails = _unpickle(path), None, {}
    else:
        with _opened(path) as file:
            card, thumbnails = _card_in(file, path), _thumbnails_in(file)
        detector = _load_skops(path)
    _refuse_no_detector(detector, path)
    detector.set_params(memory=None, checkpoint=None)
    if card is None:
        # When the detector was fitted, and by which versions, nobody wrote down.
        card = {name: value for name, value in describe(detector).items() if name not in _OF_THE_FIT}
    return Model(detector, card, file_digest(path), path, thumbnails)


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the card of a ``.skpadim`` file, without loading the detector.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict
        See `describe`.

    Raises
    ------
    ValueError
        If there is no such file, it is damaged or of a newer version, or holds no card.
    """
    path = Path(path)
    _refuse_absent(path)
    with _opened(path) as file:
        card = _card_in(file, path)
    if card is None:
        raise ValueError(f"{str(path)!r} holds no card: load it with skpadim.model_file.load_model.")
    return card


def has_card(path: str | os.PathLike[str]) -> bool:
    """Say whether a file is a zip that holds a card: files of joblib, and of skops alone, hold none."""
    path = Path(path)
    _refuse_absent(path)
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return _CARD in file.namelist()


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    from . import __version__

    installed = {name: version(name) for name in ("torch", "scikit-learn")}
    return {"skpadim": __version__, **installed, "python": platform.python_version()}


def rate_in_force(detector: PaDiMDetector) -> float | None:
    """Return the false-alarm rate that the threshold has, or None if it was set as a score."""
    from .calibration import conformal_threshold

    with warnings.catch_warnings():
        # Of few photos for the rate the fit has warned.
        warnings.simplefilter("ignore")
        by_rate = conformal_threshold(detector.loo_scores_, detector.false_alarm_rate)
    return float(detector.false_alarm_rate) if by_rate == -detector.offset_ else None


def _bare(detector: PaDiMDetector) -> PaDiMDetector:
    """Return a shallow copy without callbacks and folders, which are no part of what was learned."""
    import copy

    bare = copy.copy(detector).set_callbacks()
    return bare.set_params(memory=None, checkpoint=None)


def _import_skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise ImportError("Model files need skops: pip install 'skpadim[cli]'.") from error
    return skops.io


def _refuse_strangers(found: list[str]) -> None:
    """Refuse to write what no reader would trust."""
    from .persistence import TRUSTED_TYPES

    strangers = sorted(set(found) - set(TRUSTED_TYPES))
    if strangers:
        raise ValueError(
            f"The detector holds objects of types that a model file may not hold: {', '.join(strangers)}. "
            "Give the backbone by its name, and parameters as plain values."
        )


def _refuse_absent(path: Path) -> None:
    if not path.is_file():
        what = "it is a folder" if path.is_dir() else "there is no such file"
        raise ValueError(f"model {str(path)!r}: {what}; {_EXPECTED}.")


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a model file as a zip, all of whose errors are said in words."""
    try:
        with zipfile.ZipFile(path) as file:
            if _SCHEMA not in file.namelist():
                raise ValueError(f"model {str(path)!r} is a zip without a detector; {_EXPECTED}.")
            yield file
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
        raise ValueError(f"model {str(path)!r} is cut off, damaged or no model file; {_EXPECTED}.") from error


def _card_in(file: zipfile.ZipFile, path: Path) -> dict[str, Any] | None:
    if _CARD not in file.namelist():
        return None
    try:
        card = json.loads(file.read(_CARD))
    except ValueError as error:
        raise ValueError(f"model {str(path)!r} is damaged: its card is no JSON.") from error
    written = card.get("format") if isinstance(card, dict) else None
    if type(written) is not int or written < 1:
        raise ValueError(f"model {str(path)!r} is damaged: its card says of its format {written!r}.")
    if written > FORMAT:
        raise ValueError(
            f"model {str(path)!r} is of format {written}, and this version of skpadim reads formats up to "
            f"{FORMAT}. Upgrade skpadim to load it."
        )
    assert isinstance(card, dict)
    return card


def _thumbnails_in(file: zipfile.ZipFile) -> dict[str, bytes]:
    return {name: file.read(name) for name in sorted(file.namelist()) if name.startswith(_THUMBNAILS)}


def _load_skops(path: Path) -> Any:
    skops_io = _import_skops()
    from skops.io.exceptions import UntrustedTypesFoundException

    from .persistence import TRUSTED_TYPES

    try:
        return skops_io.load(path, trusted=TRUSTED_TYPES)
    except UntrustedTypesFoundException as error:
        strangers = sorted(set(skops_io.get_untrusted_types(file=path)) - set(TRUSTED_TYPES))
        raise ValueError(
            f"model {str(path)!r} is refused, and nothing of it was run: it holds objects of types that no "
            f"detector has: {', '.join(strangers)}. Somebody changed it, or another program wrote it."
        ) from error
    except (zipfile.BadZipFile, KeyError, EOFError, AttributeError, TypeError) as error:
        raise ValueError(f"model {str(path)!r} is damaged: {error}; {_EXPECTED}.") from error


def _unpickle(path: Path) -> Any:
    import joblib

    warnings.warn(
        f"Loading {str(path)!r} runs whatever program is in it: load only files that you made yourself. "
        "'skpadim fit' writes files that run nothing.",
        UserWarning,
        stacklevel=3,
    )
    try:
        return joblib.load(path)
    except (EOFError, KeyError, ImportError, AttributeError, IndexError, OSError) as error:
        raise ValueError(f"model {str(path)!r} cannot be read: {error}; {_EXPECTED}.") from error


def _refuse_no_detector(detector: Any, path: Path) -> None:
    from .detector import PaDiMDetector

    if not isinstance(detector, PaDiMDetector):
        raise ValueError(f"model {str(path)!r} holds a {type(detector).__name__}; {_EXPECTED}.")
    if not hasattr(detector, "pipeline_"):
        raise ValueError(f"model {str(path)!r} holds a detector that is not fitted; {_EXPECTED}.")

"""Data sets for examples, tests and benchmarks: drawn photos of a machined part, and real ones in folders."""

from .layouts import FrameMask, read_mask
from .loaders import (
    load_btad,
    load_inspection_folder,
    load_mvtec_ad,
    load_shanghaitech,
    load_visa,
    make_inspection_images,
)

__all__ = [
    "FrameMask",
    "load_btad",
    "load_inspection_folder",
    "load_mvtec_ad",
    "load_shanghaitech",
    "load_visa",
    "make_inspection_images",
    "read_mask",
]

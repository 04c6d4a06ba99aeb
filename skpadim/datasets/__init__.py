"""Data sets for examples, tests and benchmarks: drawn photos of a machined part, and real ones in folders."""

from .drawn import make_inspection_images
from .listed import load_real_iad, load_visa
from .masks import DrawnMask, FrameMask, UnionMask, read_mask
from .mvtec import load_mvtec_ad, load_mvtec_ad_2, load_mvtec_loco
from .mvtec_alike import load_btad, load_mpdd
from .own import load_inspection_folder
from .surfaces import load_dagm, load_kolektor_sdd, load_kolektor_sdd2
from .videos import load_shanghaitech

__all__ = [
    "DrawnMask",
    "FrameMask",
    "UnionMask",
    "load_btad",
    "load_dagm",
    "load_inspection_folder",
    "load_kolektor_sdd",
    "load_kolektor_sdd2",
    "load_mpdd",
    "load_mvtec_ad",
    "load_mvtec_ad_2",
    "load_mvtec_loco",
    "load_real_iad",
    "load_shanghaitech",
    "load_visa",
    "make_inspection_images",
    "read_mask",
]

"""Data sets for examples, tests and benchmarks: drawn photos of a machined part, and real ones in folders."""

from .coco import load_coco_masks
from .drawn import make_inspection_images
from .labelme import load_labelme_masks
from .listed import load_real_iad, load_visa
from .masks import DrawnMask, FrameMask, UnionMask, read_mask
from .mvtec import load_mvtec_ad, load_mvtec_ad_2, load_mvtec_loco
from .mvtec_alike import load_btad, load_mpdd
from .own import load_inspection_folder
from .surfaces import load_dagm, load_kolektor_sdd, load_kolektor_sdd2
from .videos import load_shanghaitech
from .yolo import load_yolo_masks

__all__ = [
    "DrawnMask",
    "FrameMask",
    "UnionMask",
    "load_btad",
    "load_coco_masks",
    "load_dagm",
    "load_inspection_folder",
    "load_kolektor_sdd",
    "load_kolektor_sdd2",
    "load_labelme_masks",
    "load_mpdd",
    "load_mvtec_ad",
    "load_mvtec_ad_2",
    "load_mvtec_loco",
    "load_real_iad",
    "load_shanghaitech",
    "load_visa",
    "load_yolo_masks",
    "make_inspection_images",
    "read_mask",
]

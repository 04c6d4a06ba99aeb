"""A fitted detector as one file that other engines run: the extra ``export``."""

from .onnx_file import to_onnx

__all__ = ["to_onnx"]

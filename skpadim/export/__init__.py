"""A fitted detector as one file that other engines run: the extra ``export``."""

try:
    import onnx as _onnx  # noqa: F401
    import onnxruntime as _onnxruntime  # noqa: F401
    import onnxscript as _onnxscript  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"skpadim.export needs {error.name}: install the extra, pip install 'skpadim[export]'."
    ) from error

from .metadata import read_metadata
from .onnx_file import to_onnx
from .openvino_file import to_openvino

__all__ = ["read_metadata", "to_onnx", "to_openvino"]

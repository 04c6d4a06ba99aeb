"""Computations on a GPU, recorded and replayed, for small batches take longer to launch than to compute."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# What takes more numbers keeps a GPU busy for longer than its launches take, and would cost much memory.
_MOST_NUMBERS = 2**23
# Recording takes as long as launching several batches (torch collects garbage), too long for short streams.
_CALLS_BEFORE = 16
# Shapes that are remembered: those of a stream's batches, of its last one, and some of single calls.
_N_SHAPES = 4


class Replays:
    """Recordings of a function, as CUDA graphs, one for each of the last shapes that it was called with.

    A shape that has come several times is recorded, and from then on replayed: all launches of the function
    become one. On a CPU, with many numbers, or if torch cannot record it, it is called as it is.

    The function is always the same, and depends on its arguments and on tensors that stay where they are; it
    is no attribute here, as its owner holds the recordings.
    """

    def __init__(self) -> None:
        self._recordings: dict[object, _Recording | int] = {}  # or how many calls there were
        self._lock = threading.Lock()
        self._can_record = True

    def run(self, function: Callable[..., Sequence[Tensor]], *tensors: Tensor) -> Sequence[Tensor]:
        """Return what a function computes from some tensors, by a recording where there is one.

        Parameters
        ----------
        function : callable
            Takes tensors and returns tensors, without waiting for the GPU.
        *tensors : Tensor
            All on one device.

        Returns
        -------
        sequence of Tensor
        """
        if not tensors[0].is_cuda or sum(tensor.numel() for tensor in tensors) > _MOST_NUMBERS:
            return function(*tensors)
        with self._lock, torch.cuda.device(tensors[0].device):
            recording = self._recording(function, tensors)
            return recording.replay(tensors) if isinstance(recording, _Recording) else function(*tensors)

    def _recording(
        self, function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]
    ) -> _Recording | int:
        """Return the recording for tensors of these shapes, or how often they came."""
        shapes = tuple((tensor.shape, tensor.stride(), tensor.dtype, tensor.device) for tensor in tensors)
        recording = self._recordings.pop(shapes, 0)
        if isinstance(recording, int):
            recording += 1
            if recording > _CALLS_BEFORE and self._can_record:
                try:
                    recording = _Recording(function, tensors)
                except RuntimeError:
                    self._can_record = False
        self._recordings[shapes] = recording  # The last one used is the last to go.
        if len(self._recordings) > _N_SHAPES:
            del self._recordings[next(iter(self._recordings))]
        return recording


class _Recording:
    """A function as a CUDA graph, for tensors like these."""

    def __init__(self, function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]) -> None:
        self._graph = torch.cuda.CUDAGraph()
        self._inputs = [tensor.clone() for tensor in tensors]
        self._read = torch.cuda.Event()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        # Libraries make something for every thread and stream, which is not to be recorded.
        with torch.cuda.stream(stream):
            function(*self._inputs)
        # Other threads may use the GPU meanwhile.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._outputs = function(*self._inputs)

    def replay(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        stream = torch.cuda.current_stream()
        stream.wait_event(self._read)  # of the last call, by a thread with another stream
        for given, tensor in zip(self._inputs, tensors, strict=True):
            given.copy_(tensor)
        self._graph.replay()
        results = [output.clone() for output in self._outputs]
        self._read.record(stream)
        return results

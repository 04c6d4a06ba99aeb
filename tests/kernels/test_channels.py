"""Chosen channels against plain indexing."""

from __future__ import annotations

import pytest
import torch

from skpadim.kernels.channels import select_channels

INDICES = {"some": [4, 0, 3], "one": [2], "again": [1, 1, 4], "all": [0, 1, 2, 3, 4]}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_channels_are_those_of_indexing(index, layout, dtype):
    level = torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0), dtype=dtype)
    level = level.to(memory_format=layout)
    index = torch.tensor(index, dtype=torch.long)
    chosen = select_channels(level, index)
    assert chosen.dtype == dtype
    assert torch.equal(chosen, level[:, index])
    assert chosen.is_contiguous(memory_format=torch.channels_last)


def test_what_is_chosen_does_not_hold_the_level():
    level = torch.zeros(2, 64, 3, 3)
    chosen = select_channels(level, torch.tensor([5]))
    assert chosen.untyped_storage().nbytes() == 2 * 3 * 3 * 4
    level.fill_(1)
    assert not chosen.any()

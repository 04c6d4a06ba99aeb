"""What two parts must have in common is told by content."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from skpadim.growth.identity import identity, refuse_others
from small import small


def identity_of(photos, **params):
    detector = small(**params).partial_fit(photos.X_train[:3])
    return identity(detector._growing.fitted)


@pytest.mark.parametrize(
    "params", [{"batch_size": 2}, {"n_jobs": 1}, {"false_alarm_rate": 0.3}, {"sigma": 4}, {"device": "cpu"}]
)
def test_what_decides_nothing_of_a_part_is_no_part_of_it(params, photos):
    assert identity_of(photos, **params) == identity_of(photos)


def test_the_same_weights_under_another_name_are_the_same(photos, tmp_path):
    from torchvision.models import resnet18

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        state = resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "one.pt")
    torch.save(state, tmp_path / "two.pt")
    one, two = (identity_of(photos, weights=tmp_path / name) for name in ("one.pt", "two.pt"))
    assert one == two != identity_of(photos)


def test_a_module_is_told_by_its_weights(photos):
    with torch.random.fork_rng(devices=[]):
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.Conv2d(4, 5, 3, 2))
    params = {"layers": ["0", "1"], "n_channels": None}
    one = identity_of(photos, backbone=network, **params)
    assert identity_of(photos, backbone=copy.deepcopy(network), **params) == one
    other = copy.deepcopy(network)
    with torch.no_grad():
        other[0].bias += 1e-3
    assert identity_of(photos, backbone=other, **params) != one


def test_masks_are_told_by_their_pixels(photos):
    mask = np.eye(64, dtype=bool)
    assert identity_of(photos, ignore=mask) == identity_of(photos, ignore=mask.astype(np.uint8))
    assert identity_of(photos, ignore=mask) != identity_of(photos, ignore=mask[::-1].copy())


def test_the_first_that_differs_is_named():
    same, other = {"a": "1", "b": "2"}, {"a": "1", "b": "3"}
    refuse_others([same, dict(same), dict(same)])
    with pytest.raises(ValueError, match=r"^part 2 has another b, 3, than part 0, 2\."):
        refuse_others([same, dict(same), other])
    with pytest.raises(ValueError, match=r"^the file has another b, None, than this, 2\."):
        refuse_others([same, {"a": "1"}], ["this", "the file"])

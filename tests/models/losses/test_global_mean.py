import pytest
import torch

from mmwsss.models.losses import global_mean


def test_of_one_process():
    sums = torch.tensor([3.0, 5.0, 0.0], requires_grad=True)
    counts = torch.tensor([2, 10, 0])
    means = global_mean(sums, counts)
    assert means.tolist() == [1.5, 0.5, 0.0] and counts.tolist() == [2, 10, 0]
    means.sum().backward()
    assert sums.grad.tolist()[:2] == pytest.approx([0.5, 0.1])

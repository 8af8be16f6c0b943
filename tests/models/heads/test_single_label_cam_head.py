import pytest
import torch

from mmwsss.models import SingleLabelCAMHead
from mmwsss.models.heads.single_label_cam_head import class_indices
from mmwsss.models.losses import restricted_activation
from mmwsss.utils.errors import UserError

LABELS = torch.eye(4)[[2, 0, 3]]


def test_cross_entropy_by_hand():
    head = SingleLabelCAMHead(in_channels=5, num_classes=4)
    feats = (torch.rand(3, 5, 2, 3),)
    losses = head.loss(feats, LABELS)
    assert set(losses) == {'loss_cls'}
    scores = torch.einsum('nkhw,ck->nc', feats[0], head.conv_cam.weight[:, :, 0, 0]) / 6
    expected = -scores.softmax(dim=1)[[0, 1, 2], [2, 0, 3]].log().mean()
    torch.testing.assert_close(losses['loss_cls'], expected)
    losses['loss_cls'].backward()
    assert head.conv_cam.weight.grad.any()


def test_restricted_activation():
    head = SingleLabelCAMHead(in_channels=5, num_classes=4, restricted_activation=dict(
        type='RestrictedActivationLoss', loss_weight=.5))
    feats = (torch.rand(3, 5, 2, 3),)
    losses = head.loss(feats, LABELS)
    torch.testing.assert_close(losses['loss_restricted'],
                               .5 * restricted_activation(head(feats), torch.tensor([2, 0, 3])))


def test_images_of_one_class_only():
    assert class_indices(LABELS).tolist() == [2, 0, 3]
    for wrong in (torch.zeros(4), torch.ones(4)):
        with pytest.raises(UserError, match='1 images of a batch have not exactly one class'):
            class_indices(torch.stack([LABELS[0], wrong]))

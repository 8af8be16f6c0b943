"""A network that is perfectly equivariant has nothing to learn from ER and ECR, whatever A takes in from outside."""
import pytest
import torch
from seam_toy import toy_seam

from mmwsss.models.losses.ecr_loss import with_background
from mmwsss.models.utils import ComposeViews

VIEWS = {
    'translation': [dict(type='TranslateView', max_pixels=9, exact=True)],
    'rotation': [dict(type='RotateView', max_degrees=20)],
    'all': [dict(type='FlipView'), dict(type='RotateView', max_degrees=20), dict(type='TranslateView', max_pixels=6),
            dict(type='RescaleView', scale=0.5)],
    'rescaling': [dict(type='RescaleView', scale=0.3)],
}


def losses(views, revised_of, ratio=1.0):
    """Two images with an object each; the network sees a view's maps as the view of the maps."""
    torch.manual_seed(0)
    model = toy_seam(1, views=VIEWS[views], loss_ecr=dict(type='ECRLoss', hard_ratio=ratio))
    cam1 = torch.zeros(2, 1, 40, 48)
    cam1[0, :, 12:30, 14:36] = 5.0
    cam1[1, :, 10:26, 10:30] = 3.0
    transform = ComposeViews(VIEWS[views]).sample(2, (40, 48))
    cam2 = transform(cam1)
    return model.losses(cam1, revised_of(cam1), cam2, revised_of(cam2), transform, torch.ones(2, 1))


@pytest.mark.parametrize('views', VIEWS)
@pytest.mark.parametrize('ratio', [1.0, 0.2])
def test_no_loss(views, ratio):
    def revised(cam):
        return with_background(cam / cam.amax(dim=(2, 3), keepdim=True))

    found = losses(views, revised, ratio)
    assert found['loss_er'] < 1e-4 and found['loss_ecr'] < 1e-4  # normalisation leaves 1 - 2e-5


@pytest.mark.parametrize('views', ['translation', 'rotation', 'all'])
def test_a_network_that_has_no_background_outside_has_a_loss(views):
    def revised(cam):
        maps = with_background(cam / cam.amax(dim=(2, 3), keepdim=True))
        maps[..., :2, :] = 0  # as if what came in at the top were no background
        return maps

    assert losses(views, revised)['loss_ecr'] > 0.01


def test_what_comes_in_counts_by_its_share_of_a_pixel():
    torch.manual_seed(0)
    transform = ComposeViews([dict(type='RotateView', max_degrees=20)]).sample(2, (24, 10))
    maps = torch.rand(2, 4, 24, 10, generator=torch.Generator().manual_seed(1))
    maps[:, :, 0, 0], maps[:, :, -1, -1] = 0, 1  # normalised already
    moved = toy_seam()._transform_revised(maps, transform)
    inside = transform(torch.ones(2, 1, 24, 10))
    assert ((inside > 0.1) & (inside < 0.9)).any() and (inside == 0).any()
    torch.testing.assert_close(moved[:, 1:], transform(maps)[:, 1:], rtol=0, atol=5e-5)
    torch.testing.assert_close(moved[:, :1], transform(maps)[:, :1] + 1 - inside, rtol=0, atol=5e-5)

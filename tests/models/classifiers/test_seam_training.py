"""Training of SEAM: views, seeds, mixed precision, several ranks."""

import pytest
import seam_ddp_worker
import torch
import torch.nn.functional as F
from seam_ddp_worker import LABELS, MODELS, batch
from seam_reference import random
from seam_toy import WITHOUT_PCM, loss_and_gradients, samples, toy_seam
from two_ranks import run_script

from mmwsss.models.heads import CAMHead
from mmwsss.models.utils import rotate
from mmwsss.registry import OPTIM_WRAPPERS

FLIP = dict(type='FlipView', prob=1.0)
RESCALE = dict(type='RescaleView', scale=9 / 17)
ALL = [dict(type='FlipView'), dict(type='RotateView'), dict(type='TranslateView', max_pixels=3),
       dict(type='RescaleView', scale=0.5)]


def pixelwise_seam(views, **kwargs):
    """A network that looks at each pixel by itself, linear on images without negative values."""
    model = toy_seam(backbone=dict(kernel=1, stride=1), views=views, **{**WITHOUT_PCM, **kwargs})
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.abs_()
    return model


def spots(num_images, size):
    """Positive images, linear between pixels 0, 2, 4, ... and empty near the edge."""
    coarse = torch.zeros(num_images, 3, (size[0] + 1) // 2, (size[1] + 1) // 2)
    coarse[..., 2:-2, 2:-2] = random(*coarse[..., 2:-2, 2:-2].shape).abs().float()
    return F.interpolate(coarse, size=size, mode='bilinear', align_corners=True)


def er_loss(model, images, labels, mismatch=lambda images: images):
    """The ER loss when the images of the second view go through ``mismatch`` beforehand."""
    sample, calls = model.view.sample, []

    def first_call_mismatches(*args):
        view = sample(*args)
        return lambda x: view(x if calls or calls.append(1) else mismatch(x))

    model.view.sample = first_call_mismatches
    loss = model.loss(images, samples(labels))['loss_er'].item()
    del model.view.sample
    return loss


@pytest.mark.parametrize('views', [[FLIP], [dict(type='FlipView')], [RESCALE], [FLIP, RESCALE], [RESCALE, FLIP],
                                   [dict(type='TranslateView', max_pixels=2)],
                                   [dict(type='TranslateView', max_pixels=2, exact=True), FLIP]])
def test_equivariant_network_has_no_equivariance_loss(views):
    """9/17 of 17 pixels are every second pixel, and the outermost three pixels are empty."""
    images, labels = spots(4, (17, 17)), [[1, 0, 1], [1, 1, 1], [0, 1, 0], [0, 0, 1]]
    model = pixelwise_seam(views)
    for seed in range(3):
        torch.manual_seed(seed)
        assert er_loss(model, images, labels) < 1e-6
        assert er_loss(model, images, labels, mismatch=lambda x: x.flip(-2)) > 0.02


def test_maps_are_turned_as_the_images_are():
    """Interpolation leaves a little, images that were turned a bit more leave much more."""
    images, labels = F.avg_pool2d(spots(6, (61, 61)), 9, stride=1, padding=4), [[1, 1, 1]] * 6
    images[..., :20, :] = 0
    model = pixelwise_seam(ALL)
    for seed in range(2):
        losses = []
        for degrees in (0.0, 10.0):
            torch.manual_seed(seed)
            losses.append(er_loss(model, images, labels, lambda x, by=degrees: rotate(x, torch.full((6,), by))))
        assert 0 < 3 * losses[0] < losses[1]


def test_revised_maps_agree_in_the_mirror():
    """For a pixelwise network PCM is equivariant as well: ECR compares the CAM with the revised map, flip or not."""
    images, labels = random(2, 3, 6, 7).abs().float(), [[1, 0, 1], [0, 1, 0]]
    parts = dict(pcm=dict(type='PCM', in_channels=(4, 6), reduced_channels=(3, 5), channels=7),
                 loss_ecr=dict(type='ECRLoss'), loss_min_pool=dict(type='MinPoolingLoss'))
    plain, flipped = (loss_and_gradients(pixelwise_seam(views, **parts), images, labels)
                      for views in ([dict(type='FlipView', prob=0.0)], [FLIP]))
    for one, two in zip(plain, flipped):
        for name in one:
            torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)
    assert plain[0]['loss_er'] == 0 < plain[0]['loss_ecr']


def test_seed_decides_about_the_views():
    model, images, labels = toy_seam(views=ALL), random(3, 3, 24, 20).float(), [[1, 0, 1], [0, 1, 0], [1, 1, 1]]

    def losses(seed):
        torch.manual_seed(seed)
        return loss_and_gradients(model, images, labels)

    first, again, other = losses(1), losses(1), losses(2)
    assert first[0] == again[0]
    assert all(torch.equal(gradient, again[1][name]) for name, gradient in first[1].items())
    assert first[0]['loss_er'] != other[0]['loss_er'] and first[0]['loss_ecr'] != other[0]['loss_ecr']


@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'AutocastOptimWrapper'])
def test_training_lowers_the_loss(wrapper):
    labels = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]]
    images = 0.1 * random(4, 3, 24, 20).float()
    for n, label in enumerate(labels):
        for c, present in enumerate(label):
            images[n, c, 6 * c:6 * c + 12, 4:14] += 2 * present  # a square of the class's colour
    model = toy_seam().train()
    optimizer = OPTIM_WRAPPERS.build(dict(type=wrapper, optimizer=torch.optim.SGD(model.parameters(), lr=0.1)))
    steps = [model.train_step(dict(inputs=images, data_samples=samples(labels)), optimizer) for _ in range(40)]
    for name, part in (('loss', 0.7), ('loss_cls', 0.7), ('loss_er', 1.0), ('loss_ecr', 0.7)):
        assert steps[-1][name].item() < part * steps[0][name].item()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mixed_precision_is_close_to_full(dtype):
    images, labels = random(2, 3, 32, 24).float(), [[1, 0, 1], [0, 1, 0]]
    for options in (dict(), dict(pcm_options=dict(max_entries=500)), WITHOUT_PCM):
        model = toy_seam(**options)
        full, _ = loss_and_gradients(model, images, labels)
        with torch.autocast('cpu', dtype=dtype):
            mixed, gradients = loss_and_gradients(model, images, labels)
        for name, loss in mixed.items():
            assert loss.dtype == torch.float32
            torch.testing.assert_close(loss, full[name], rtol=0.03, atol=0.003)
        assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_large_activations_of_half_precision_stay_finite():
    """Class maps close to the limit of float16, as features of a thousand channels may give."""
    model, images = toy_seam(), 1e3 * random(2, 3, 16, 12).float()
    with torch.autocast('cpu', dtype=torch.float16):
        maps = model.forward_maps(images)[0]
        losses, gradients = loss_and_gradients(model, images, [[1, 0, 1], [0, 1, 0]])
        cam = model.compute_cam(images).cam
    assert maps.dtype == torch.float16 and maps.abs().max() > 2e3
    assert cam.isfinite().all() and all(loss.isfinite() for loss in losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_two_ranks_give_losses_and_gradients_of_one_with_twice_the_batch(tmp_path):
    ranks = run_script(seam_ddp_worker.__file__, tmp_path)
    for name, options in MODELS.items():
        losses, gradients = loss_and_gradients(toy_seam(**options), batch(), LABELS)
        (losses1, gradients1), (losses2, gradients2) = (rank[name] for rank in ranks)
        for key, loss in losses.items():
            torch.testing.assert_close((losses1[key] + losses2[key]) / 2, loss, rtol=1e-5, atol=1e-6)
            assert losses1[key] != losses2[key]
        assert gradients.keys() == gradients1.keys()
        for key, gradient in gradients.items():
            assert torch.equal(gradients1[key], gradients2[key])
            torch.testing.assert_close(gradients1[key], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


def test_the_head_inside_decides_the_classification_loss(monkeypatch):
    """A head with a loss of its own is asked for it, once a view."""
    calls = []

    def loss_by_maps(self, maps, labels):
        calls.append(tuple(maps.shape))
        return maps.sum() * 0 + 7

    monkeypatch.setattr(CAMHead, 'loss_by_maps', loss_by_maps)
    model = toy_seam()
    losses = model(torch.randn(2, 3, 20, 20), samples([[1, 0, 1], [0, 1, 0]]), mode='loss')
    assert losses['loss_cls'] == 7 and len(calls) == 2

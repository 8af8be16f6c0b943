"""A network that is perfectly equivariant has nothing to learn from ER and ECR, whatever A takes in from outside."""
import pytest
import seam_reference as slow
import torch
from seam_reference import random
from seam_toy import toy_seam

from mmwsss.models.classifiers.seam import background_outside, compared_maps
from mmwsss.models.losses.ecr_loss import with_background
from mmwsss.models.utils import ComposeViews, find_inside
from mmwsss.structures.maps import min_max_normalize

FLIP, RESCALE = dict(type='FlipView'), dict(type='RescaleView', scale=0.3)
ROTATE, TRANSLATE = dict(type='RotateView', max_degrees=20), dict(type='TranslateView', max_pixels=9, exact=True)
WHOLE = {'rescaling': [RESCALE], 'flip': [FLIP], 'rescaling and flip': [RESCALE, FLIP]}
MOVED = {'translation': [TRANSLATE], 'rotation': [ROTATE], 'translation and rescaling': [TRANSLATE, RESCALE],
         'all': [FLIP, ROTATE, dict(type='TranslateView', max_pixels=6), dict(type='RescaleView', scale=0.5)]}
VIEWS = {**WHOLE, **MOVED}


def squares(floor):
    """Two images with an object each: 5 and 3 above a floor."""
    cam = torch.full((2, 1, 40, 48), float(floor))
    cam[0, :, 12:30, 14:36] += 5
    cam[1, :, 10:26, 10:30] += 3
    return cam


def noise(low=-1.0):
    """Any map at all: highest and lowest values are anywhere."""
    return 4 * torch.rand(2, 1, 40, 48, generator=torch.Generator().manual_seed(1)) + low


def revise(cam):
    """The background of a revised map is the complement of its foreground."""
    return torch.cat([1 - cam / 10, cam / 10], dim=1)


def losses(views, cam1, change=lambda maps, inside: maps, ratio=1.0):
    """ER and ECR of a network that sees a view's maps as the view of the maps; ``change`` alters those of the view."""
    torch.manual_seed(0)
    model = toy_seam(1, views=VIEWS[views], loss_ecr=dict(type='ECRLoss', hard_ratio=ratio))
    transform = model.view.sample(2, cam1.shape[-2:])
    inside = find_inside(transform, cam1)
    assert inside.all() == (views in WHOLE) and inside.any()
    cam2, revised2 = change(transform(cam1), inside), change(transform(revise(cam1)), inside)
    found = model.losses(cam1, revise(cam1), cam2, revised2, transform, torch.ones(2, 1))
    return found['loss_er'], found['loss_ecr']


@pytest.mark.parametrize('views', VIEWS)
@pytest.mark.parametrize('floor', [0, 1, 4])
@pytest.mark.parametrize('ratio', [1.0, 0.2])
def test_no_loss_whatever_the_floor(views, floor, ratio):
    assert max(losses(views, squares(floor), ratio=ratio)) < 2e-4  # of eps in the normalisation


@pytest.mark.parametrize('views', [*MOVED, 'flip'])
@pytest.mark.parametrize('low', [0.0, 2.0])
def test_no_loss_for_any_map(views, low):
    """Rescaling alone, as in the released code, normalises before: a peak between its samples makes a difference."""
    assert max(losses(views, noise(low), ratio=0.2)) < 2e-4


@pytest.mark.parametrize('views', MOVED)
@pytest.mark.parametrize('value', [-3.0, 0.0, 2.0, 50.0])
def test_what_the_network_sees_outside_does_not_count(views, value):
    def fill(maps, inside):
        return maps.masked_fill(~inside, value)

    def move_and_fill(maps, inside):
        filled.append((fill(maps.roll(2, dims=-1), inside).requires_grad_(), inside))
        return filled[-1][0]

    assert max(losses(views, squares(1), fill, ratio=0.2)) < 2e-4
    filled = []
    found = losses(views, squares(1), move_and_fill)
    for maps, inside in filled:
        gradient, = torch.autograd.grad(sum(found), maps, retain_graph=True)
        assert gradient.any() and not gradient.masked_select(~inside).any()


@pytest.mark.parametrize('views', VIEWS)
def test_what_differs_inside_counts(views):
    assert min(losses(views, squares(1), lambda maps, inside: maps.roll(2, dims=-1))) > 0.01


@pytest.mark.parametrize('views', VIEWS)
@pytest.mark.parametrize('size', [(9, 7), (7, 11)])
def test_losses_equal_loops_forward_and_backward(views, size):
    labels = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 0, 1]])
    torch.manual_seed(2)
    model = toy_seam(3, views=[dict(view, max_pixels=2) if 'max_pixels' in view else view for view in VIEWS[views]])
    transform = model.view.sample(3, size)
    inside = transform(torch.ones(3, 1, *size, dtype=torch.float64)) > 1 - 1e-3
    small = inside.shape[2:]
    outputs = [x.requires_grad_() for x in (random(3, 3, *size, seed=1) + 1, random(3, 4, *size, seed=2) + 1,
                                            random(3, 3, *small, seed=3) + 1, random(3, 4, *small, seed=4) + 1)]
    expected = slow.step(*outputs, labels, transform, inside=inside)
    found = model.losses(*(x.float() for x in outputs), transform, labels.float())
    for name, loss in expected.items():
        torch.testing.assert_close(found[name].double(), loss, rtol=1e-5, atol=1e-6)
        gradients = (torch.autograd.grad(x, outputs, allow_unused=True, retain_graph=True) for x in (found[name], loss))
        for one, two in zip(*gradients, strict=True):
            one, two = (torch.zeros(1) if gradient is None else gradient for gradient in (one, two))
            torch.testing.assert_close(one, two.to(one), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('views', WHOLE)
def test_without_anything_from_outside_the_released_code_is_followed_bit_by_bit(views):
    torch.manual_seed(0)
    model = toy_seam(3, views=VIEWS[views])
    transform, labels = model.view.sample(2, (20, 17)), torch.tensor([[1.0, 0, 1], [0, 1, 1]])
    small = transform(torch.zeros(2, 1, 20, 17)).shape[2:]
    outputs = [random(2, c, *s, seed=c).float().requires_grad_() for s, c in (((20, 17), 3), ((20, 17), 4), (small, 3),
                                                                              (small, 4))]
    cam1, revised1, cam2, revised2 = outputs
    present = labels[:, :, None, None]
    with_bg = torch.cat([torch.ones(2, 1, 1, 1), present], dim=1)
    a_cam1, cam2 = transform(min_max_normalize(cam1)) * present, min_max_normalize(cam2) * present
    a_revised1, revised2 = transform(min_max_normalize(revised1)) * with_bg, min_max_normalize(revised2) * with_bg
    expected = dict(loss_er=model.loss_er(a_cam1, cam2), loss_ecr=model.loss_ecr(with_background(cam2), a_revised1)
                    + model.loss_ecr(with_background(a_cam1), revised2))
    found = model.losses(*outputs, transform, labels)
    for name, loss in expected.items():
        assert found[name] == loss
        gradients = [torch.autograd.grad(x, outputs, allow_unused=True, retain_graph=True) for x in (found[name], loss)]
        for one, two in zip(*gradients):
            assert (one is two is None) or torch.equal(one, two)


def test_an_image_does_not_depend_on_whether_another_is_moved_out():
    def move(x):
        return torch.cat([x[:1], torch.nn.functional.pad(x[1:], (3, -3, 0, 0))])

    maps1, maps2 = noise(), noise().flip(-1)
    inside = find_inside(move, maps1)
    assert inside[0].all() and not inside[1].all()
    both, alone = compared_maps(maps1, maps2, move, inside), compared_maps(maps1[:1], maps2[:1], lambda x: x)
    for one, two in zip(both, alone):
        assert torch.equal(one[:1], two) and not one[1, ..., :3].any()


@pytest.mark.parametrize('views', MOVED)
def test_a_pixel_is_inside_when_all_of_it_is_of_the_image(views):
    """A floor under the image is a floor under the view exactly there."""
    torch.manual_seed(0)
    transform = ComposeViews(VIEWS[views]).sample(2, (40, 48))
    risen = transform(squares(7)) - transform(squares(0))
    inside = find_inside(transform, squares(0))
    torch.testing.assert_close(risen[inside], torch.full_like(risen[inside], 7.0), rtol=0, atol=1e-4)
    assert (risen[~inside] < 7 - 0.006).all()
    if views == 'rotation':
        assert ((risen > 1) & ~inside).any()


def test_nothing_is_left_inside():
    """Views that moved the image away: nothing to compare, and no division by zero."""
    model = toy_seam(1, views=[dict(type='TranslateView', max_pixels=50, exact=True)])
    transform = model.view.sample(2, (40, 48))
    outputs = [x.clone().requires_grad_() for x in (noise(), revise(noise()), noise(), revise(noise()))]
    found = model.losses(*outputs, transform, torch.ones(2, 1))
    assert found['loss_er'] == found['loss_ecr'] == 0
    gradients = torch.autograd.grad(found['loss_er'] + found['loss_ecr'], outputs)
    assert all(not gradient.any() for gradient in gradients)


def test_background_outside():
    maps, inside = torch.full((1, 3, 1, 2), 0.4), torch.tensor([True, False]).view(1, 1, 1, 2)
    assert background_outside(maps, inside).flatten().tolist() == pytest.approx([0.4, 1, 0.4, 0.4, 0.4, 0.4])

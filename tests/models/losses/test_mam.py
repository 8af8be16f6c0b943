import pytest
import rcm_mam_reference as slow
import torch

from mmwsss.models.losses.mam import MAM
from mmwsss.registry import MODELS


def cams(seed):
    return list(slow.random_cam(3, 2, 4, 3, 5, seed=seed))


@pytest.mark.parametrize('mode', ['mam', 'mmm', 'smm'])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_hands_its_options_to_the_loss(mode, reduction):
    main, support, labels = cams(1), cams(2), slow.random_labels(2, 4, seed=5)
    for index in range(3):
        found = MAM(mode, reduction, reference_index=index)(main, support, labels)
        torch.testing.assert_close(found, slow.mam(main, support, labels, mode, reduction, index))
        found = MAM(mode, reduction, reference_index=index, renormalize=True)(main, support, labels)
        torch.testing.assert_close(found, slow.mam(main, support, labels, mode, reduction, index, renormalize=True))


def test_gradient_through_the_attention_on_demand():
    main, support, labels = [x.requires_grad_() for x in cams(1)], cams(2), torch.ones(2, 4)
    for detach in (True, False):
        losses = (MAM(detach_attention=detach)(main, support, labels), slow.mam(main, support, labels, detach=detach))
        for one, two in zip(*(torch.autograd.grad(loss, main) for loss in losses)):
            torch.testing.assert_close(one, two)


def test_skips_empty_maps_on_demand():
    main, support, labels = cams(1), cams(2), torch.ones(2, 4)
    for maps in support:
        maps[1, 2] = 0
    known = labels.clone()
    known[1, 2] = 0
    torch.testing.assert_close(MAM(skip_empty=True)(main, support, labels), slow.mam(main, support, known))
    assert MAM()(main, support, labels) > MAM(skip_empty=True)(main, support, labels)


def test_defaults():
    module = MODELS.build(dict(type='MAM'))
    assert (module.mode, module.reduction, module.reference_index) == ('mam', 'mean', 1)
    assert not list(module.parameters()) and not module.state_dict()


def test_mixed_precision():
    main = [maps.bfloat16().requires_grad_() for maps in cams(1)]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = MAM()(main, [maps.bfloat16() for maps in cams(2)], torch.ones(2, 4))
    assert loss.dtype == torch.float32
    assert all(gradient.isfinite().all() and gradient.any() for gradient in torch.autograd.grad(loss, main))


@pytest.mark.parametrize('options, message', [
    (dict(mode='all'), "MAM: mode is one of mam, mmm, smm, got 'all'"),
    (dict(reduction='max'), "MAM: reduction is one of mean, sum, got 'max'")])
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MAM(**options)


def test_wrong_scales():
    with pytest.raises(ValueError, match='as of SupportNet and reference_index 1 among them, got 3 and 2'):
        MAM()(cams(1), cams(2)[:2], torch.ones(2, 4))
    with pytest.raises(ValueError, match='reference_index 3 among them, got 3 and 3'):
        MAM(reference_index=3)(cams(1), cams(2), torch.ones(2, 4))

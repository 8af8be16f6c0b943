
import pytest
import rcm_mam_ddp_worker
import rcm_mam_reference as slow
import torch
from rcm_mam_ddp_worker import OPTIONS, run
from two_ranks import run_script

from mmwsss.models.losses.rcm import RCM
from mmwsss.registry import MODELS

NUM_CLASSES, CHANNELS, SIZE = 4, 3, (3, 4)


def batch(labels, seed=0):
    """Features of both nets, CAMs of both, labels."""
    labels = torch.tensor(labels)
    main, support = (slow.random(len(labels), CHANNELS, *SIZE, seed=10 * seed + i) for i in (1, 2))
    main_cam, cam = (slow.random_cam(len(labels), NUM_CLASSES, *SIZE, seed=10 * seed + i) for i in (3, 4))
    return main.requires_grad_(), main_cam.requires_grad_(), support, cam, labels


def rcm(**kwargs):
    return RCM(NUM_CLASSES, CHANNELS, **kwargs).double()


@pytest.mark.parametrize('mode', ['contrast', 'direct'])
def test_incomplete_images_are_as_if_they_were_not_there(mode):
    """The second image has a class whose CAM is empty."""
    main, main_cam, support, cam, labels = batch([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]])
    cam[1, 3] = 0
    kept = torch.tensor([0, 2])
    module, other = rcm(mode=mode, skip_incomplete=True, threshold=0), rcm(mode=mode, threshold=0)
    loss = module(main, main_cam, support, cam, labels)
    torch.testing.assert_close(loss, other(main[kept], main_cam[kept], support[kept], cam[kept], labels[kept]))
    assert torch.equal(module.seen, other.seen)
    torch.testing.assert_close(module.prototypes, other.prototypes)


@pytest.mark.parametrize('options', [{}, dict(log=False, normalize='none'), dict(pixel_weighted=True, threshold=0.7),
                                     dict(temperature=0.07)])
def test_bank_keeps_the_latest_prototype_of_each_class(options):
    """Several batches against the loops; class 3 is never seen, the others come and go."""
    module, bank = rcm(**options), {}
    kwargs = {key: value for key, value in options.items() if key in ('temperature', 'log', 'normalize')}
    for step, labels in enumerate([[[1, 0, 0, 0]], [[0, 1, 1, 0], [0, 1, 0, 0]], [[0, 0, 0, 0]], [[1, 0, 1, 0]]]):
        main, main_cam, support, cam, labels = batch(labels, step)
        region = slow.regions(cam, labels, options.get('threshold', 0.2))
        bank.update(slow.prototypes(support, region, options.get('pixel_weighted', False)))
        loss, expected = module(main, main_cam, support, cam, labels), slow.contrast(main, bank, region, **kwargs)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
        torch.testing.assert_close(*(torch.autograd.grad(x, main)[0] for x in (loss, expected)), rtol=1e-9, atol=1e-13)
        assert module.seen.nonzero().flatten().tolist() == sorted(bank)
        for k in range(NUM_CLASSES + 1):
            torch.testing.assert_close(module.prototypes[k], bank.get(k, torch.zeros(CHANNELS).double()))
    assert sorted(bank) == [0, 1, 2, 3]


def test_bank_is_saved_and_loaded():
    module, other = rcm(), rcm()
    module(*batch([[1, 0, 1, 0]]))
    assert sorted(module.state_dict()) == ['prototypes', 'seen']
    other.load_state_dict(module.state_dict())
    assert other.seen.tolist() == [True, True, False, True, False] and other.prototypes[1].any()
    later = batch([[0, 1, 0, 0]], seed=1)
    assert other(*later) == module(*later) != rcm()(*later)


def test_earlier_losses_can_still_be_differentiated():
    """The update of the bank does not touch what an earlier graph holds."""
    module = rcm()
    first, second = batch([[1, 0, 1, 0]]), batch([[1, 1, 1, 0]], seed=1)
    expected = torch.autograd.grad(rcm()(*first), first[0])[0]
    loss = module(*first)
    module(*second)
    assert torch.equal(torch.autograd.grad(loss, first[0])[0], expected)


@pytest.mark.parametrize('normalize', ['count', 'balanced', 'class_sum', 'none'])
def test_direct(normalize):
    module = rcm(mode='direct', threshold=0.5, temperature=0.3, normalize=normalize)
    _, main_cam, _, cam, labels = inputs = batch([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    expected = slow.direct(main_cam, slow.regions(cam, labels, 0.5), labels, 0.3, normalize)
    loss = module(*inputs)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(x, main_cam)[0] for x in (loss, expected)), rtol=1e-9, atol=1e-13)
    assert not module.seen.any()
    with pytest.raises(ValueError, match="RCM: mode 'direct' needs main_cam"):
        module(inputs[0], None, *inputs[2:])


@pytest.mark.parametrize('mode', ['contrast', 'direct'])
def test_no_gradient_to_supportnet(mode):
    main, main_cam, support, cam, labels = batch([[1, 0, 1, 0], [0, 1, 0, 0]])
    rcm(mode=mode)(main, main_cam, support.requires_grad_(), cam.requires_grad_(), labels).backward()
    assert support.grad is None and cam.grad is None
    trained, other = (main, main_cam) if mode == 'contrast' else (main_cam, main)
    assert trained.grad.abs().max() > 0 and other.grad is None


def test_weight_sharing_trains_features_as_features_only():
    """SupportNet may be MainNet itself: the prototypes are still constants."""
    main, main_cam, _, cam, labels = batch([[1, 0, 1, 0], [0, 1, 0, 0]])
    gradients = [torch.autograd.grad(rcm()(main, main_cam, support, cam, labels), main)[0]
                 for support in (main, main.detach().clone())]
    assert torch.equal(*gradients)


@pytest.mark.parametrize('mode', ['contrast', 'direct'])
def test_mixed_precision(mode):
    module = RCM(NUM_CLASSES, CHANNELS, mode=mode)
    *maps, labels = batch([[1, 0, 1, 0], [0, 1, 0, 0]])
    maps = [x.detach().bfloat16().requires_grad_() for x in maps]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = module(*maps, labels)
    full = rcm(mode=mode)(*(x.double() for x in maps), labels)
    assert loss.dtype == torch.float32 and module.prototypes.dtype == torch.float32
    torch.testing.assert_close(loss.double(), full, rtol=1e-5, atol=0)
    gradient = torch.autograd.grad(loss, maps[mode == 'direct'])[0]
    assert gradient.isfinite().all() and gradient.any()


@pytest.mark.parametrize('options, message', [
    (dict(threshold=1.0), r'RCM: threshold is in \[0, 1\), got 1.0'), (dict(threshold=-0.1), 'RCM: threshold'),
    (dict(temperature=0), 'RCM: temperature is above 0, got 0'),
    (dict(normalize='mean'), "RCM: normalize is one of count, balanced, class_sum, none, got 'mean'"),
    (dict(mode='both'), "RCM: mode is one of contrast, direct, got 'both'")])
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        RCM(3, **options)


def test_is_registered():
    module = MODELS.build(dict(type='RCM', num_classes=7))
    assert module.prototypes.shape == (8, 256) and (module.threshold, module.temperature) == (0.2, 0.5)


def test_two_ranks_give_losses_and_gradients_of_one_with_twice_the_batch(tmp_path):
    """Of RCM and of MAM, over two batches; the bank is the same on both ranks."""
    ranks = run_script(rcm_mam_ddp_worker.__file__, tmp_path)
    for name, options in OPTIONS.items():
        for key, expected in run(options).items():
            first, second = (rank[name][key] for rank in ranks)
            if key.startswith('losses'):
                torch.testing.assert_close((first + second) / 2, expected, rtol=1e-12, atol=1e-15)
                assert (first != second).all()
            else:
                assert torch.equal(first, second)
                torch.testing.assert_close(first, expected, rtol=1e-10, atol=1e-13)
        assert ranks[0][name]['rcm.seen1'].tolist() == [name != 'direct'] * 4

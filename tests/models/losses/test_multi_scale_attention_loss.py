import pytest
import rcm_mam_reference as slow
import torch

from mmwsss.models.losses import attention_targets, multi_scale_attention, multi_scale_cam, scale_attention

# Scales, images, classes, height, width.
SHAPES = [(3, 1, 1, 1, 1), (3, 2, 3, 3, 5), (2, 3, 5, 4, 3), (4, 4, 2, 2, 2)]


def case(shape):
    main, support = (list(slow.random_cam(*shape, seed=seed)) for seed in (1, 2))
    return [maps.requires_grad_() for maps in main], support, slow.random_labels(*shape[1:3])


@pytest.mark.parametrize('shape', SHAPES)
def test_attention_and_targets_equal_loops(shape):
    main, support, _ = case(shape)
    main, support = torch.stack(main).detach(), torch.stack(support)
    found, targets = scale_attention(main, support), attention_targets(main, support)
    assert found.shape == (shape[0], *shape[:3]) and targets.shape == shape
    for n in range(shape[1]):
        for k in range(shape[2]):
            for i in range(shape[0]):
                xi = [slow.attention(main[i, n, k], support[j, n, k]) for j in range(shape[0])]
                torch.testing.assert_close(found[i, :, n, k], torch.stack(xi), rtol=1e-12, atol=0)
                target = sum(x * maps for x, maps in zip(xi, support[:, n, k])) / shape[0]
                torch.testing.assert_close(targets[i, n, k], target, rtol=1e-12, atol=1e-15)


def test_attention_of_known_maps():
    """Equal maps: 1, whatever their scale; maps that do not overlap: 2; an empty one: 2."""
    left, right = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.3]])
    maps = torch.stack([left, right, left * 0])
    expected = torch.tensor([[1.0, 2, 2], [2, 1, 2], [2, 2, 2]])
    torch.testing.assert_close(scale_attention(maps, 0.5 * maps), expected)
    torch.testing.assert_close(attention_targets(maps, maps)[:2, 0], torch.tensor([[1.0, 0.6], [2.0, 0.3]]) / 3)


@pytest.mark.parametrize('shape', SHAPES)
def test_multi_scale_cam_equals_loops(shape):
    _, support, _ = case(shape)
    support[0][0, 0] = 0
    found = multi_scale_cam(support)
    for n in range(shape[1]):
        for k in range(shape[2]):
            torch.testing.assert_close(found[n, k], slow.msinf([maps[n, k] for maps in support]), rtol=1e-12, atol=0)
    assert (multi_scale_cam([maps * 0 for maps in support]) == 0).all()


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('mode', ['mam', 'mmm', 'smm'])
@pytest.mark.parametrize('reduction, renormalize', [('mean', False), ('sum', False), ('mean', True)])
def test_loss_equals_loops_forward_and_backward(shape, mode, reduction, renormalize):
    main, support, labels = case(shape)
    for reference_index in range(shape[0]):
        found = multi_scale_attention(main, support, labels, mode, reduction, reference_index, renormalize=renormalize)
        expected = slow.mam(main, support, labels, mode, reduction, reference_index, renormalize)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
        for one, other in zip(*(torch.autograd.grad(loss, main, allow_unused=True, materialize_grads=True)
                                for loss in (found, expected))):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


@pytest.mark.parametrize('mode', ['mam', 'mmm', 'smm'])
def test_absent_classes_and_supportnet_get_no_gradient(mode):
    main, support, labels = case((3, 3, 4, 3, 5))
    support = [maps.requires_grad_() for maps in support]
    loss = multi_scale_attention(main, support, labels, mode)
    loss.backward()
    assert all(maps.grad is None for maps in support)
    gradient = main[1].grad.abs().amax(dim=(2, 3))
    assert torch.equal(gradient > 0, labels.bool())


@pytest.mark.parametrize('mode', ['mam', 'mmm', 'smm'])
def test_without_any_class_is_zero_with_gradient(mode):
    main, support, labels = case((3, 2, 3, 3, 5))
    loss = multi_scale_attention(main, support, labels * 0, mode)
    assert loss == 0
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, main))


@pytest.mark.parametrize('mode', ['mam', 'mmm', 'smm'])
def test_empty_maps_stay_finite(mode):
    main = [torch.zeros(1, 1, 2, 2, requires_grad=True) for _ in range(3)]
    support = [torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0], [0, 0]]]])]
    for theirs in (support, support[:1] * 3):
        loss = multi_scale_attention(main, theirs, torch.ones(1, 1), mode)
        assert loss.isfinite() and all(g.isfinite().all() for g in torch.autograd.grad(loss, main))


@pytest.mark.parametrize('mode', ['mam', 'mmm', 'smm'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_full(mode, dtype):
    main, support, labels = case((3, 2, 3, 24, 24))
    main, support = ([maps.detach().to(dtype) for maps in cams] for cams in (main, support))
    expected = multi_scale_attention([x.double() for x in main], [x.double() for x in support], labels, mode)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = multi_scale_attention(main, support, labels, mode)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize('mode', ['mam', 'mmm', 'smm'])
def test_classes_without_a_cam_of_supportnet_are_left_out(mode):
    """As if the label did not name them."""
    shape = (3, 2, 3, 3, 4)
    main, support, labels = case(shape)
    labels = torch.tensor([[1, 1, 0], [0, 1, 1]])
    for maps in support:
        maps[0, 1] = 0
    found = multi_scale_attention(main, support, labels, mode, skip_empty=True)
    expected = slow.mam(main, support, torch.tensor([[1, 0, 0], [0, 1, 1]]), mode)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert found != multi_scale_attention(main, support, labels, mode)
    gradients = torch.autograd.grad(found, main, allow_unused=True)
    assert all(gradient is None or not gradient[0, 1].any() for gradient in gradients)


def test_class_without_a_cam_at_one_scale_only_is_not_left_out():
    main, support, labels = case((3, 2, 3, 3, 4))
    support[0][1, 2] = 0
    labels = torch.ones_like(labels)
    with_it = multi_scale_attention(main, support, labels, skip_empty=True)
    assert with_it == multi_scale_attention(main, support, labels)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('renormalize', [False, True])
def test_gradient_through_the_attention_equals_loops(shape, renormalize):
    main, support, labels = case(shape)
    found = multi_scale_attention(main, support, labels, renormalize=renormalize, detach_attention=False)
    expected = slow.mam(main, support, labels, renormalize=renormalize, detach=False)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(loss, main, allow_unused=True, materialize_grads=True)
                 for loss in (found, expected, multi_scale_attention(main, support, labels, renormalize=renormalize))]
    for one, other in zip(*gradients[:2]):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    if shape[-1] * shape[-2] > 1:  # maps of one pixel have no angle
        assert not torch.equal(gradients[0][0], gradients[2][0])


def test_gradient_through_the_attention_of_empty_maps_is_finite():
    main = [torch.zeros(1, 1, 2, 2, requires_grad=True) for _ in range(3)]
    support = [torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0], [0, 0]]]])]
    loss = multi_scale_attention(main, support, torch.ones(1, 1), detach_attention=False)
    assert loss.isfinite() and all(g.isfinite().all() for g in torch.autograd.grad(loss, main))


@pytest.mark.parametrize(('options', 'message'), [
    (dict(mode='MAM'), "mode is one of mam, mmm, smm, got 'MAM'"), (dict(mode=''), 'mode is one of'),
    (dict(reduction='none'), "reduction is one of mean, sum, got 'none'")])
def test_unknown_words_are_refused(options, message):
    cams = [torch.rand(1, 2, 3, 3) for _ in range(3)]
    with pytest.raises(ValueError, match=message):
        multi_scale_attention(cams, cams, torch.ones(1, 2), **options)


def test_mmm_is_mam_without_attention():
    """Networks that agree at every scale have an attention of one, and the two losses are the same."""
    cam = slow.random_cam(2, 3, 4, 5, seed=3)
    maps, labels = [cam, cam, cam], torch.ones(2, 3)
    mam, mmm = (multi_scale_attention([x * 0.5 for x in maps], maps, labels, mode) for mode in ('mam', 'mmm'))
    torch.testing.assert_close(mam, mmm)
    assert mmm < multi_scale_attention([x * 0.5 for x in maps], maps, labels, 'mmm', renormalize=True)

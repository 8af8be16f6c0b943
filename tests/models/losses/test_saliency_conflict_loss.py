import importlib
import math
import threading

import pytest
import torch
from saliency_loops import IGNORE, SHAPES, batch, slow_class_tau, slow_saliency_loss, slow_tau

from mmwsss.models.losses import SaliencyConflictLoss, background_conflict, saliency_loss
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

CROSS_ENTROPY = dict(type='CrossEntropyLoss', avg_non_ignore=True)


def slow_loss(logits, saliency, labels, alpha, per_image, soft):
    pixels = [-logits[n, :, y, x].log_softmax(dim=0)[labels[n, y, x]] for n, y, x in (labels != IGNORE).nonzero()]
    images = [n for n in range(len(labels)) if (labels[n] != IGNORE).any()]
    term = 0
    for n in images:
        tau = slow_tau(labels[n], saliency[n]) if per_image else slow_tau(labels, saliency)
        term = term + (math.exp(tau) - 1) * slow_saliency_loss(logits[n], saliency[n], labels[n], soft)
    return sum(pixels) / len(pixels) + alpha * term / len(images)


def build(**options):
    return MODELS.build(dict(type='SaliencyConflictLoss', loss_decode=CROSS_ENTROPY, **options))


def compute(loss, logits, saliency, labels, **kwargs):
    with loss.using(saliency) as logs:
        return loss(logits, labels, ignore_index=IGNORE, **kwargs), logs


@pytest.mark.parametrize('shape', SHAPES)
def test_on_ignored_pixels(shape):
    """Where the label says nothing saliency does; padding, which has none, and the temperature stay as they are."""
    logits, saliency, labels = batch(shape, seed=4)
    labels[:, :, -1], saliency[:, :, -1] = IGNORE, -1.0  # padding
    labels[-1] = IGNORE
    logits.requires_grad_()
    losses = saliency_loss(logits, saliency, labels, IGNORE, on_ignored=True)
    expected = torch.stack([slow_saliency_loss(*image, on_ignored=True) for image in zip(logits, saliency, labels)])
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x.sum(), logits)[0] for x in (losses, expected)))
    loss = compute(build(alpha=3.0, on_ignored=True), logits, saliency, labels)[0]
    # Without any label an image has no temperature, and is not one of those that the mean is over.
    images = [n for n in range(len(labels)) if (labels[n] != IGNORE).any()]
    terms = [(math.exp(slow_tau(labels[n], saliency[n])) - 1) * expected[n] for n in images]
    cross_entropy = compute(build(alpha=0.0), logits, saliency, labels)[0]
    torch.testing.assert_close(loss, cross_entropy + 3 * sum(terms) / max(1, len(images)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('on_ignored', [False, True])
@pytest.mark.parametrize('shape', SHAPES)
def test_saliency_decides_among_the_classes_of_the_label(shape, on_ignored):
    """A salient pixel is of one of them, and no other class is raised; an image without class has no L_sal."""
    logits, saliency, labels = batch(shape, seed=6)
    logits.requires_grad_()
    losses = saliency_loss(logits, saliency, labels, IGNORE, on_ignored=on_ignored, present_only=True)
    expected = []
    for image, salient, label in zip(logits, saliency, labels):
        shown = sorted(set(label.flatten().tolist()) - {0, IGNORE})
        expected.append(slow_saliency_loss(image, salient, label, on_ignored=on_ignored, objects=shown) if shown
                        else 0 * image.sum())
    expected = torch.stack(expected)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x.sum(), logits)[0] for x in (losses, expected)))
    loss = compute(build(alpha=3.0, on_ignored=on_ignored, present_only=True), logits, saliency, labels)[0]
    images = [n for n in range(len(labels)) if ((labels[n] != 0) & (labels[n] != IGNORE)).any()]
    terms = [(math.exp(slow_tau(labels[n], saliency[n])) - 1) * expected[n] for n in images]
    cross_entropy = compute(build(alpha=0.0), logits, saliency, labels)[0]
    torch.testing.assert_close(loss, cross_entropy + 3 * sum(terms) / max(1, len(images)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('on_ignored', [False, True])
@pytest.mark.parametrize('shape', SHAPES)
def test_a_temperature_for_every_class(shape, on_ignored):
    """Of an image whose saliency misses one of its classes the others' pixels keep their weight."""
    logits, saliency, labels = batch(shape, seed=8)
    saliency[labels == shape[1] - 1] *= 0.4
    logits.requires_grad_()
    taus = torch.stack([slow_class_tau(*image) for image in zip(labels, saliency)])
    loss = compute(build(alpha=3.0, per_class=True, on_ignored=on_ignored), logits, saliency, labels)[0]
    images, terms = [n for n in range(len(labels)) if (labels[n] != IGNORE).any()], 0
    for n in images:
        pixels = [(y, x) for y in range(shape[2]) for x in range(shape[3]) if on_ignored or labels[n, y, x] != IGNORE]
        for y, x in pixels:
            one = slice(y, y + 1), slice(x, x + 1)
            pixel_loss = slow_saliency_loss(logits[n][:, one[0], one[1]], saliency[n][one], labels[n][one],
                                            on_ignored=on_ignored)
            terms = terms + torch.expm1(taus[n, y, x].double()) * pixel_loss / len(pixels)
    expected = compute(build(alpha=0.0), logits, saliency, labels)[0] + 3 * terms / max(1, len(images))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*(torch.autograd.grad(x, logits)[0] for x in (loss, expected)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('options', [{}, dict(per_class=True), dict(present_only=True), dict(on_ignored=True)])
@pytest.mark.parametrize('shape', SHAPES)
def test_normalized_by_the_weights_of_both_terms(shape, options):
    """Label and saliency have 1 / (1 + w) and w / (1 + w) of a pixel, so that all pixels count alike."""
    logits, saliency, labels = batch(shape, seed=10)
    logits.requires_grad_()
    alpha, seg, sal, images = 6.0, 0, 0, 0
    for n in range(len(labels)):
        shown = sorted(set(labels[n].flatten().tolist()) - {0, IGNORE})
        objects = shown if options.get('present_only') else None
        tau = (slow_class_tau(labels[n], saliency[n]) if options.get('per_class')
               else torch.full(labels[n].shape, slow_tau(labels[n], saliency[n])))
        term, number = 0, 0
        for y in range(shape[2]):
            for x in range(shape[3]):
                is_labelled = labels[n, y, x] != IGNORE
                is_counted = (is_labelled or options.get('on_ignored')) and objects != []
                weight = alpha * (math.exp(tau[y, x]) - 1) if is_counted else 0
                if is_labelled:
                    seg = seg - logits[n, :, y, x].log_softmax(dim=0)[labels[n, y, x]] / (1 + weight)
                if is_counted:
                    one = (slice(y, y + 1), slice(x, x + 1))
                    loss = slow_saliency_loss(logits[n][:, one[0], one[1]], saliency[n][one], labels[n][one],
                                              on_ignored=True, objects=objects)
                    term, number = term + weight / (1 + weight) * loss, number + 1
        sal = sal + term / max(1, number)
        images += number > 0 and bool((labels[n] != IGNORE).any())
    expected = seg / max(1, (labels != IGNORE).sum()) + sal / max(1, images)
    loss = compute(build(alpha=alpha, normalize=True, **options), logits, saliency, labels)[0]
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*(torch.autograd.grad(x, logits)[0] for x in (loss, expected)), rtol=1e-4, atol=1e-5)


def test_temperatures_cannot_be_of_classes_and_of_the_batch():
    with pytest.raises(ValueError, match='per_class'):
        build(per_class=True, per_image=False)


@pytest.mark.parametrize('label', [0, 1])
@pytest.mark.parametrize('weight', [0.066, 0.5, 0.99, 1.5, 4.0])
@pytest.mark.parametrize('agreeing', [1.0, 0.8, 0.52])
def test_what_saliency_can_overturn(weight, label, agreeing):
    """The probability of a label at the minimum, found on a grid, is (q + w a) / (1 + w), as the docstring says."""
    odds = torch.linspace(-12, 12, 2401, dtype=torch.float64)
    logits = torch.stack([odds, torch.zeros_like(odds)], dim=1)[..., None, None]  # one pixel each
    labels = torch.full((len(odds), 1, 1), label)
    loss_seg = sum(share * torch.nn.functional.cross_entropy(logits, target, reduction='none').flatten()
                   for share, target in ((agreeing, labels), (1 - agreeing, 1 - labels)))
    for given in (0.05, 0.2, 0.4, 0.9):
        saliency = torch.full(labels.shape, given if label else 1 - given, dtype=torch.float64)
        best = odds[(loss_seg + weight * saliency_loss(logits, saliency, labels)).argmin()]
        probability = best.sigmoid().item() if label == 0 else 1 - best.sigmoid().item()
        assert probability == pytest.approx((agreeing + weight * given) / (1 + weight), abs=0.01)
        assert (probability < 0.5) == (agreeing < 0.5 + weight * (0.5 - given))


def test_only_the_given_label_is_ignored():
    labels, saliency = torch.tensor([[[0, 7, 7, 255]]]), torch.tensor([[[0, 0, 0, 1.0]]])
    assert background_conflict(labels, saliency, ignore_index=7).item() == 1
    assert background_conflict(labels, saliency, ignore_index=255).item() == pytest.approx((1 / 3 + 0) / 2)
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 0, 0, 1:3] = 9
    assert saliency_loss(logits, saliency, labels, ignore_index=7).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize('soft', [True, False])
@pytest.mark.parametrize('shape', SHAPES)
def test_saliency_loss_equals_loops_forward_and_backward(shape, soft):
    logits, saliency, labels = batch(shape, seed=5)
    labels[-1] = IGNORE
    logits.requires_grad_()
    losses = saliency_loss(logits, saliency, labels, IGNORE, soft)
    expected = torch.stack([slow_saliency_loss(*image, soft) for image in zip(logits, saliency, labels)])
    torch.testing.assert_close(losses, expected)
    assert losses[-1] == 0
    weights = torch.arange(1, len(losses) + 1)
    torch.testing.assert_close(*(torch.autograd.grad((weights * x).sum(), logits)[0] for x in (losses, expected)))


def test_saliency_loss_is_stable():
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0]])[None, :, None].requires_grad_()
    for saliency, expected in (([0, 1], 0.0), ([1, 0], (1e4 + 2e4) / 2)):
        loss = saliency_loss(logits, torch.tensor([[saliency]]).float(), torch.zeros(1, 1, 2).long())
        assert loss.item() == pytest.approx(expected, rel=1e-3)
        assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize('soft', [True, False])
@pytest.mark.parametrize('per_image', [True, False])
@pytest.mark.parametrize('shape', SHAPES)
def test_loss_equals_loops_forward_and_backward(shape, per_image, soft):
    logits, saliency, labels = batch(shape, seed=1)
    if len(labels) > 2:
        labels[1] = IGNORE
    logits.requires_grad_()
    loss, _ = compute(build(alpha=0.7, per_image=per_image, soft=soft), logits, saliency, labels)
    expected = slow_loss(logits, saliency, labels, 0.7, per_image, soft)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(*(torch.autograd.grad(x, logits)[0] for x in (loss, expected)), rtol=1e-5, atol=1e-7)


def test_options_matter():
    data = batch((3, 4, 6, 6), seed=2)
    values = [compute(build(**options), *data)[0].item() for options in (
        {}, dict(alpha=0.09), dict(per_image=False), dict(soft=False), dict(loss_weight=0.4))]
    assert len({round(value, 7) for value in values}) == 5
    assert values[0] == pytest.approx(slow_loss(*data, 0.08, True, True).item(), rel=1e-5)
    assert values[4] == pytest.approx(0.4 * values[0])


def test_no_gradient_through_temperature_and_saliency():
    logits, saliency, labels = batch((2, 3, 4, 5))
    logits.requires_grad_()
    saliency.requires_grad_()
    assert not background_conflict(labels, saliency).requires_grad
    loss, logs = compute(build(), logits, saliency, labels)
    assert torch.autograd.grad(loss, (logits, saliency), allow_unused=True)[1] is None
    assert not any(value.requires_grad for value in logs.values())


def test_alpha_zero_is_cross_entropy():
    logits, saliency, labels = batch((3, 5, 6, 4))
    logits.requires_grad_()
    loss, _ = compute(build(alpha=0), logits, saliency, labels)
    plain = torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE)
    torch.testing.assert_close(loss, plain, rtol=1e-6, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(x, logits)[0] for x in (loss, plain)), rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')
def test_loss_of_the_config_gets_weights_and_keeps_its_own_mean():
    logits, saliency, labels = batch((2, 3, 4, 5))
    weight = torch.rand(2, 4, 5)
    for cfg in (dict(type='CrossEntropyLoss', avg_non_ignore=False, loss_weight=3.0),
                dict(type='CrossEntropyLoss', avg_non_ignore=True, class_weight=None)):
        seg = MODELS.build(dict(cfg))(logits, labels, weight=weight, ignore_index=IGNORE)
        loss, _ = compute(SaliencyConflictLoss(cfg, alpha=0), logits, saliency, labels, weight=weight)
        assert loss.item() == pytest.approx(seg.item())
    # The sampler's weights are none of the saliency's.
    terms = [compute(build(), logits, saliency, labels, weight=w)[0] - compute(build(alpha=0), logits, saliency, labels,
                                                                               weight=w)[0] for w in (None, weight)]
    assert terms[0].item() == pytest.approx(terms[1].item(), rel=1e-4) and terms[0] > 1e-3


@pytest.mark.parametrize('per_image', [True, False])
@pytest.mark.parametrize('on_ignored, present_only, kept', [
    (False, False, [0, 1, 3]), (True, False, [0, 1, 2, 3]), (False, True, [1]), (True, True, [1])])
def test_logs_are_means_over_the_images_that_count(per_image, on_ignored, present_only, kept):
    """tau over images with label, L_sal over those that it is taken from: image 2 has no label, 0 and 3 no class.

    Without label an image has no temperature of its own, but shares that of a batch.
    """
    kept = [n for n in kept if n != 2 or not per_image]
    logits, saliency, labels = batch((4, 3, 5, 5))
    labels[2] = IGNORE
    loss, logs = compute(build(per_image=per_image, on_ignored=on_ignored, present_only=present_only), logits, saliency,
                         labels)
    taus = [slow_tau(labels[n], saliency[n]) for n in range(4)]
    together = slow_tau(labels, saliency)
    assert logs['tau'].item() == pytest.approx((taus[0] + taus[1] + taus[3]) / 3 if per_image else together)
    terms = {}
    for n in kept:
        shown = sorted(set(labels[n].flatten().tolist()) - {0, IGNORE}) if present_only else [1, 2]
        terms[n] = slow_saliency_loss(logits[n], saliency[n], labels[n], on_ignored=on_ignored, objects=shown).item()
    assert logs['saliency_ce'].item() == pytest.approx(sum(terms.values()) / len(kept))
    weighted = sum(math.expm1(taus[n] if per_image else together) * term for n, term in terms.items()) / len(kept)
    plain = compute(build(alpha=0.0), logits, saliency, labels)[0]
    assert (loss - plain).item() == pytest.approx(0.08 * weighted, rel=1e-3)
    # MMEngine would add to the loss what has "loss" in its name.
    assert set(logs) == {'tau', 'saliency_ce'}


def test_batch_without_labels_has_no_loss():
    logits, saliency, labels = batch((2, 3, 4, 5))
    logits.requires_grad_()
    loss, logs = compute(build(), logits, saliency, torch.full_like(labels, IGNORE))
    assert loss.item() == 0 and logs['tau'] == 0 and logs['saliency_ce'] == 0
    assert (torch.autograd.grad(loss, logits)[0] == 0).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    logits, saliency, labels = batch((2, 9, 64, 64))
    low = (6 * logits).to(dtype).requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        loss, logs = compute(build(), low, saliency.float(), labels)
    full, _ = compute(build(), low.detach().double(), saliency, labels)
    assert loss.item() == pytest.approx(full.item(), rel=1e-4) and logs['tau'].dtype == torch.float32
    loss.backward()
    assert low.grad.isfinite().all() and low.grad.abs().sum() > 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_saliency_loss_is_computed_in_full_precision(dtype):
    logits, saliency, labels = batch((2, 9, 40, 40))
    low = logits.to(dtype)
    losses = saliency_loss(low, saliency.float(), labels)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses.double(), saliency_loss(low.double(), saliency, labels), rtol=1e-5, atol=0)


def test_label_to_ignore_is_the_heads():
    logits, saliency, labels = batch((2, 3, 4, 5))
    expected, _ = compute(build(alpha=1.0), logits, saliency, labels)
    loss = build(alpha=1.0)
    with loss.using(saliency):
        assert loss(logits, labels.where(labels != IGNORE, torch.tensor(100)), ignore_index=100) == expected


@pytest.mark.parametrize('per_image', [True, False])
def test_two_ranks_give_what_one_process_gives(per_image, monkeypatch):
    """The ranks have very different numbers of labelled pixels; the second has an image without any."""
    logits, saliency, labels = batch((4, 3, 5, 6))
    labels[2, 1:], labels[3] = IGNORE, IGNORE
    loss, whole = build(per_image=per_image, alpha=0.5), logits.clone().requires_grad_()
    expected, _ = compute(loss, whole, saliency, labels)
    expected.backward()

    barrier, given = threading.Barrier(2, timeout=30), {}

    def all_reduce(tensor):
        given[threading.current_thread().name] = tensor.clone()
        barrier.wait()
        total = sum(given.values())
        barrier.wait()
        tensor.copy_(total)

    # By name: in its package `global_mean` is the function.
    means = importlib.import_module('mmwsss.models.losses.global_mean')
    monkeypatch.setattr(means, 'all_reduce', all_reduce)
    monkeypatch.setattr(means, 'get_world_size', lambda: 2)
    monkeypatch.setattr(importlib.import_module('mmwsss.models.losses.conflict_temperature'), 'all_reduce', all_reduce)
    ranks, results = [logits[:2].clone().requires_grad_(), logits[2:].clone().requires_grad_()], {}

    def work(rank):
        mine = slice(2 * rank, 2 * rank + 2)
        results[rank], _ = compute(build(per_image=per_image, alpha=0.5), ranks[rank], saliency[mine], labels[mine])
        results[rank].backward()

    threads = [threading.Thread(target=work, args=(rank,), name=str(rank)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (results[0] + results[1]).item() / 2 == pytest.approx(expected.item(), rel=1e-6)
    # Every rank has its own images, so DDP's mean of their gradients halves each.
    torch.testing.assert_close(torch.cat([rank.grad for rank in ranks]) / 2, whole.grad, rtol=1e-5, atol=1e-8)


def test_saliency_is_there_for_the_body_only():
    data = batch((1, 2, 3, 3))
    loss = build()
    compute(loss, *data)
    with pytest.raises(UserError, match=r'no saliency; set model\.type=SaliencyEncoderDecoder'):
        loss(data[0], data[2])
    with pytest.raises(InterruptedError), loss.using(data[1]):
        raise InterruptedError
    with pytest.raises(UserError, match='SaliencyEncoderDecoder'):
        loss(data[0], data[2])
    assert not loss.state_dict()


def test_wrong_arguments():
    for options, message in ((dict(alpha=-1), 'alpha'), (dict(alpha=math.nan), 'alpha'),
                             (dict(loss_name='conflict'), 'loss_name')):
        with pytest.raises(ValueError, match=f'SaliencyConflictLoss: {message}'):
            SaliencyConflictLoss(CROSS_ENTROPY, **options)
    logits, saliency, labels = batch((2, 3, 4, 5))
    with pytest.raises(ValueError, match='one channel'):
        compute(build(), logits[:, :1], saliency, labels)
    with pytest.raises(ValueError, match=r'\[2, 3, 5\] does not fit the labels \[2, 4, 5\]'):
        compute(build(), logits, saliency[:, :3], labels)
    assert build(loss_name='loss_x').loss_name == 'loss_x' and build().loss_name == 'loss_saliency_conflict'

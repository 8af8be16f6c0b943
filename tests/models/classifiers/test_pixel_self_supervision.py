import pytest
import torch
import torch.nn.functional as F
from pixel_self_supervision_toy import LABELS, images, loss_and_gradients, main_net_cfg, samples, toy_cfg, toy_model
from rcm_mam_reference import contrast, direct, mam, msinf, prototypes, regions

from mmwsss.engine import load_weights_strict
from mmwsss.engine.checkpoint import export_part
from mmwsss.models.heads.cam_head import classification_loss
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


def reference_losses(model, inputs, labels, stride=1, mode='mam', rcm=contrast):
    """The losses of the method page, from the layers of both networks."""
    support_net = model.support_net or model.main_net
    height, width = inputs.shape[-2:]
    size = -(-height // stride), -(-width // stride)
    outputs = []
    for ratio in (0.5, 1, 2):
        view = inputs if ratio == 1 else F.interpolate(
            inputs, size=(round(height * ratio), round(width * ratio)), mode='bilinear', antialias=ratio < 1)
        for net in (model.main_net, support_net):
            x = net.neck.conv(net.backbone(view)[-1])
            maps = net.cam_head.conv_cam(x)
            cam, x_resized = (F.interpolate(y, size, mode='bilinear').double() for y in (maps.relu(), x))
            outputs.append((cam / cam.amax(dim=(2, 3), keepdim=True).clamp(min=1e-5), x_resized, maps))
    own, theirs = outputs[::2], outputs[1::2]
    own_cams, cams = [cam for cam, _, _ in own], [cam.detach() for cam, _, _ in theirs]
    multi_scale = torch.stack([torch.stack([msinf([cam[n, k] for cam in cams]) for k in range(3)])
                               for n in range(len(labels))])
    region = regions(multi_scale, labels, threshold=0.2)
    if rcm is direct:
        loss_rcm = direct(own_cams[1], region, labels)
    else:
        loss_rcm = contrast(own[1][1], prototypes(theirs[1][1].detach(), region), region)
    return dict(loss_cls=classification_loss(own[1][2].mean(dim=(2, 3)), labels), loss_rcm=loss_rcm,
                loss_mam=mam(own_cams, cams, labels, mode))


@pytest.mark.parametrize('options, reference', [
    ({}, {}),
    (dict(stride=3), dict(stride=3)),
    (dict(support='shared', mam=dict(mode='mmm')), dict(mode='mmm')),
    (dict(rcm=dict(mode='direct'), mam=dict(mode='smm'), stride=2), dict(rcm=direct, mode='smm', stride=2)),
])
def test_losses_and_gradients_are_those_of_the_method_page(options, reference):
    # With this seed no map is empty, which the reference could not divide by its maximum.
    model, inputs, labels = toy_model(seed=48, **options), images(3, (13, 10)), torch.tensor(LABELS[:3]).double()
    losses, gradients = loss_and_gradients(model, inputs, LABELS[:3])
    expected = reference_losses(model, inputs, labels, **reference)
    assert losses.keys() == expected.keys() and all(loss > 0 for loss in losses.values())
    for name, loss in losses.items():
        torch.testing.assert_close(loss.double(), expected[name].double(), rtol=1e-4, atol=1e-6)
    model.zero_grad()
    sum(expected.values()).backward()
    for name, parameter in model.main_net.named_parameters():
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(gradients[f'main_net.{name}'], parameter.grad, rtol=1e-3, atol=1e-4 * scale)
    assert all(gradient is None for name, gradient in gradients.items() if name.startswith('support_net.'))


def count_forwards(model):
    counts = dict(main=0, support=0)

    def count(net, key):
        forward_maps = net.forward_maps

        def counted(view):
            counts[key] += 1
            return forward_maps(view)

        net.forward_maps = counted

    count(model.main_net, 'main')
    if model.support_net is not None:
        count(model.support_net, 'support')
    return counts


@pytest.mark.parametrize('options, weights, expected, names', [
    ({}, {}, (3, 3), ['loss_cls', 'loss_mam', 'loss_rcm']),
    ({}, dict(mam=0.0), (1, 3), ['loss_cls', 'loss_rcm']),  # before MAM starts
    ({}, dict(mam=0.0, rcm=0.0), (1, 0), ['loss_cls']),
    ({}, dict(cls=0.0), (3, 3), ['loss_mam', 'loss_rcm']),
    (dict(rcm=None), dict(mam=0.0), (1, 0), ['loss_cls']),
    (dict(rcm=None, mam=dict(mode='smm')), {}, (1, 3), ['loss_cls', 'loss_mam']),
    (dict(rcm=None, mam=dict(mode='mmm')), {}, (3, 3), ['loss_cls', 'loss_mam']),
    (dict(mam=None), {}, (1, 3), ['loss_cls', 'loss_rcm']),
    (dict(rcm=None, mam=None), {}, (1, 0), ['loss_cls']),
    (dict(support='shared'), {}, (3, 0), ['loss_cls', 'loss_mam', 'loss_rcm']),  # nothing is forwarded twice
    (dict(support='shared', mam=None), {}, (3, 0), ['loss_cls', 'loss_rcm']),
])
def test_nothing_is_computed_that_no_loss_needs(options, weights, expected, names):
    model = toy_model(**options)
    model.loss_weights.update(weights)
    counts = count_forwards(model)
    losses = model(images(), samples(), mode='loss')
    assert (counts['main'], counts['support']) == expected
    assert sorted(losses) == names


def test_a_module_alone_has_the_loss_that_it_has_beside_the_others():
    full, _ = loss_and_gradients(toy_model(), images())
    for options, name in ((dict(mam=None), 'loss_rcm'), (dict(rcm=None), 'loss_mam'), (dict(mam=None), 'loss_cls')):
        assert loss_and_gradients(toy_model(**options), images())[0][name] == full[name]
    weighted, _ = loss_and_gradients(toy_model(loss_weights=dict(rcm=0.25, mam=3)), images())
    torch.testing.assert_close(weighted, dict(loss_cls=full['loss_cls'], loss_rcm=full['loss_rcm'] / 4,
                                              loss_mam=full['loss_mam'] * 3))


def test_moving_average_is_that_of_its_closed_form():
    """theta_G = a^n theta_G0 + (1 - a) sum_i a^(n - i) theta_Fi, for weights and for running statistics."""
    model = toy_model(backbone=dict(norm=True), momentum=0.3)
    weights = {key: 0.7 ** 5 * value.double() for key, value in model.support_net.state_dict().items()}
    for step in range(5):
        model.train()(images(seed=step), samples(), mode='loss')  # moves the running statistics
        for parameter in model.main_net.parameters():
            parameter.data.normal_()
        model.update_support_net()
        for key, value in model.main_net.state_dict().items():
            weights[key] += 0.3 * 0.7 ** (4 - step) * value.double()
    main, support = model.main_net.state_dict(), model.support_net.state_dict()
    assert not torch.equal(main['backbone.norm.running_mean'], support['backbone.norm.running_mean'])
    # Once for each of three ratios, and only by MainNet's forward passes.
    assert main['backbone.norm.num_batches_tracked'] == support['backbone.norm.num_batches_tracked'] == 15
    for key, value in support.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), weights[key], rtol=1e-5, atol=1e-6)
        assert value.data_ptr() != main[key].data_ptr()
    model.sync_support_net()
    assert all(torch.equal(value, main[key]) for key, value in model.support_net.state_dict().items())


def test_frozen_weights_stay_as_they_are():
    model = toy_model()
    model.sync_support_net()
    before = {key: value.clone() for key, value in model.support_net.state_dict().items()}
    model.update_support_net()
    assert all(torch.equal(value, before[key]) for key, value in model.support_net.state_dict().items())


def test_support_net_is_not_trained():
    model = toy_model(backbone=dict(norm=True, dropout=0.5))
    assert model.training and model.main_net.backbone.norm.training
    assert not any(module.training for module in model.support_net.modules())
    assert not any(parameter.requires_grad for parameter in model.support_net.parameters())
    assert all(module.training for module in model.eval().train().main_net.modules())
    assert not any(module.training for module in model.support_net.modules())
    views = images(), images(size=(32, 24))  # the same twice, in spite of the dropout
    first, second = (model._forward_support(views, {}) for _ in range(2))
    assert all(torch.equal(a, b) for pair in zip(first, second) for a, b in zip(*pair))


def test_initialisation_is_that_of_main_net_alone():
    """Baseline and method start from the same weights at one seed, SupportNet from MainNet's."""
    torch.manual_seed(3)
    alone = MODELS.build(main_net_cfg())
    alone.init_weights()
    torch.manual_seed(3)
    model = MODELS.build(toy_cfg())
    model.init_weights()
    for key, value in alone.state_dict().items():
        assert torch.equal(model.main_net.state_dict()[key], value)
        assert torch.equal(model.support_net.state_dict()[key], value)
    assert not hasattr(model, '_params_init_info')


def predictions(model):
    with torch.no_grad():
        return [sample.pred_cam.data for sample in model.eval()(images(), samples(), mode='predict')]


def test_predictions_are_main_nets(tmp_path):
    model = toy_model()
    alone = MODELS.build(main_net_cfg())
    alone.load_state_dict(model.main_net.state_dict())
    expected = predictions(alone)
    assert max(cam.max() for cam in expected) == 1
    assert all(torch.equal(a, b) for a, b in zip(predictions(model), expected))
    assert torch.equal(model(images(), mode='tensor'), alone(images(), mode='tensor'))
    assert model.num_classes == 3

    torch.save(model.state_dict(), tmp_path / 'whole.pth')
    main_only = {key: value for key, value in model.state_dict().items() if key.startswith('main_net.')}
    torch.save(main_only, tmp_path / 'main_only.pth')
    for file in ('whole.pth', 'main_only.pth'):
        for options in ({}, dict(rcm=None, mam=None), dict(support='shared')):
            loaded = toy_model(**options)
            load_weights_strict(loaded, tmp_path / file)
            assert list(loaded.state_dict()) == list(main_only)  # no SupportNet, no prototypes
            assert all(torch.equal(a, b) for a, b in zip(predictions(loaded), expected))
    export_part(tmp_path / 'whole.pth', tmp_path / 'exported.pth', 'main_net')
    plain = MODELS.build(main_net_cfg())
    load_weights_strict(plain, tmp_path / 'exported.pth')
    assert all(torch.equal(a, b) for a, b in zip(predictions(plain), expected))


def test_a_checkpoint_without_all_of_main_net_is_refused(tmp_path):
    weights = toy_model().state_dict()
    del weights['main_net.neck.conv.weight']
    torch.save(weights, tmp_path / 'weights.pth')
    with pytest.raises(UserError, match=r'1 key missing \(main_net.neck.conv.weight\)'):
        load_weights_strict(toy_model(), tmp_path / 'weights.pth')


@pytest.mark.parametrize('size', [(1, 1), (5, 1), (17, 23)])
@pytest.mark.parametrize('options', [{}, dict(stride=4), dict(support='shared', rcm=dict(mode='direct'))])
def test_any_size_and_any_labels(size, options):
    for labels in (LABELS[:2], [[0, 0, 0], [0, 0, 0]]):
        losses, gradients = loss_and_gradients(toy_model(**options), images(2, size), labels)
        assert sorted(losses) == ['loss_cls', 'loss_mam', 'loss_rcm']
        assert all(loss.isfinite() for loss in losses.values())
        assert all(gradient.isfinite().all() for gradient in gradients.values() if gradient is not None)


@pytest.mark.parametrize('options', [{}, dict(support='shared'), dict(rcm=dict(mode='direct'), stride=2)])
def test_mixed_precision_is_close_to_full(options):
    model = toy_model(**options)
    full, exact = loss_and_gradients(model, images())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed, gradients = loss_and_gradients(toy_model(**options), images())
    for name, loss in mixed.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, full[name], rtol=0.05, atol=0.01)
    for name, gradient in gradients.items():
        if gradient is not None:
            assert gradient.isfinite().all()
            assert (gradient - exact[name]).norm() < 0.2 * exact[name].norm()
    assert {name for name in gradients if gradients[name] is None} == {name for name in exact if exact[name] is None}


@pytest.mark.parametrize('options, message', [
    (dict(ratios=(0.5, 2)), 'ratios'), (dict(ratios=(1, 1, 2)), 'ratios'), (dict(ratios=(-1, 1)), 'ratios'),
    (dict(ratios=(1, 2)), 'place 0'), (dict(stride=0), 'stride'), (dict(momentum=0), 'momentum'),
    (dict(momentum=1.1), 'momentum'), (dict(support='copy'), 'support'),
    (dict(loss_weights=dict(mom=1)), 'loss_weights')])
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=rf'PixelSelfSupervision.*{message}'):
        toy_model(**options)


def test_other_ratios():
    model = toy_model(ratios=(1, 2), mam=dict(reference_index=0))
    counts = count_forwards(model)
    losses = model(images(), samples(), mode='loss')
    assert counts == dict(main=2, support=2) and losses['loss_mam'] > 0

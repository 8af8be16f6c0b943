"""SLAM's losses against loops over images and categories; what trains what; what predictions need."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from slam_toy import LOSSES, encoder_config, samples, toy_encoder, toy_slam

from mmwsss.models.losses import semantic_loss as terms
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

LABELS = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def images(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 0.5


class PointwiseBackbone(torch.nn.Module):
    def forward(self, inputs):
        return torch.cat([inputs, -inputs], dim=1),


def slow_activations(model, image, label):
    """K x H x W of one image 3 x H x W: pixel by pixel where a reading needs it."""
    maps = model.cam_head(model.backbone(image[None]))[0]
    if model.activation == 'sigmoid':
        maps = 1 / (1 + (-maps / model.temperature).exp())
    else:
        maps = torch.stack([one.clamp(min=0) / max(one.clamp(min=0).max().item(), 1e-5) for one in maps])
    maps = F.interpolate(maps[None], image.shape[-2:], mode='bilinear')[0]
    if model.background == 'own':
        return maps
    rest = torch.ones_like(maps[0])
    for y in range(rest.shape[0]):
        for x in range(rest.shape[1]):
            rest[y, x] = 1 - max([maps[k, y, x] for k, there in enumerate(label) if there], default=torch.tensor(0.0))
    return torch.cat([rest[None], maps])


def slow_losses(model, inputs, labels):
    """One masked image at a time; without the consistency of two views."""
    foreground, background, area, consistency, classes = [], [], [], [], []
    for image, label in zip(inputs, labels):
        maps = slow_activations(model, image, label)
        asked = torch.tensor([[float(model.loss_categories == 'all'), *label]])
        for k in asked[0].nonzero().flatten().tolist():
            for which, mask, found in ((terms.category_foreground, maps[k], foreground),
                                       (terms.category_background, 1 - maps[k], background)):
                seen = (image * mask)[None]
                if model.encoder_scale != 1:
                    seen = F.interpolate(seen, [round(model.encoder_scale * n) for n in image.shape[-2:]],
                                         mode='bilinear', antialias=True)
                found.append(which(model.encoder(seen), torch.tensor([k]), asked)[0])
        objects = [maps[k + 1] for k, there in enumerate(label) if there]
        area.append((sum(objects).mean() / len(objects) if objects else 0) + 1 - maps[0].mean())
        highest = torch.stack(objects).amax(0) if objects else 0
        consistency.append((maps[0] + highest - 1).square().mean())
        scores = model.cam_head(model.backbone(image[None]))[0, -3:].mean((1, 2))
        classes += [-F.logsigmoid(score if there else -score) for score, there in zip(scores, label)]

    def mean(values):
        return sum(values) / len(values)

    return dict(loss_foreground=mean(foreground), loss_background=mean(background),
                loss_regularization=0.075 * mean(area), loss_consistency=mean(consistency),
                loss_cls=model.cls_weight * mean(classes))


READINGS = [
    dict(), dict(loss_categories='foreground'), dict(activation='relu'), dict(temperature=2.0),
    dict(encoder_scale=0.5), dict(cls_weight=0.7),
    dict(loss_consistency=dict(type='ActivationComplementLoss')),
    dict(background='complement', activation='relu', loss_categories='foreground', encoder_scale=0.5, cls_weight=1.0,
         loss_consistency=None),
    dict(background='complement', loss_consistency=None)]


@pytest.mark.parametrize('size', [(10, 8), (5, 13)])
@pytest.mark.parametrize('reading', READINGS, ids=lambda reading: '-'.join(map(str, reading)) or 'first')
def test_losses_equal_loops(reading, size):
    model, inputs = toy_slam(**reading), images(3, 3, *size)
    found = model(inputs, samples(LABELS), mode='loss')
    expected = slow_losses(model, inputs, LABELS)
    names = set(LOSSES) - {name for name in LOSSES if getattr(model, name) is None}
    assert set(found) == names | ({'loss_cls'} if model.cls_weight else set())
    parameters = [*model.backbone.parameters(), *model.cam_head.parameters()]
    compared = set(found) - (set() if 'loss_consistency' in reading else {'loss_consistency'})
    assert len(compared) >= 3
    for name in compared:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)
        for one, two in zip(torch.autograd.grad(found[name], parameters, retain_graph=True, allow_unused=True),
                            torch.autograd.grad(expected[name], parameters, retain_graph=True, allow_unused=True)):
            if one is not None or two is not None:
                torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_images_without_class_have_no_loss_by_the_encoder():
    model = toy_slam(background='complement', loss_categories='foreground', loss_consistency=None, cls_weight=1.0)
    losses = model(images(2, 3, 8, 8), samples([[0, 0, 0]] * 2), mode='loss')
    assert losses['loss_foreground'] == losses['loss_background'] == 0
    sum(losses.values()).backward()


def test_consistency_compares_the_transformed_activations():
    model, inputs = toy_slam(views=[dict(type='FlipView', prob=1.0)]), images(3, 3, 8, 12)
    found = model(inputs, samples(LABELS), mode='loss')['loss_consistency']
    present = torch.tensor([[1.0, *label] for label in LABELS])
    flipped = F.interpolate(model.cam_head(model.backbone(inputs.flip(-1))).sigmoid(), (8, 12), mode='bilinear')
    plain = F.interpolate(model.cam_head(model.backbone(inputs)).sigmoid(), (8, 12), mode='bilinear')
    difference = (plain.flip(-1) - flipped).abs().mean(dim=(2, 3))
    expected = ((present * difference).sum(1) / present.sum(1)).mean()
    torch.testing.assert_close(found, expected)
    assert found > 0


def test_consistency_leaves_out_what_is_not_of_the_image():
    """Maps that move with the image are the same in both views, whatever lies outside."""
    model, inputs = toy_slam(views=[dict(type='TranslateView', max_pixels=3, exact=True)]), images(3, 3, 8, 8)
    model.backbone = PointwiseBackbone()
    assert model(inputs, samples(LABELS), mode='loss')['loss_consistency'] < 1e-6


def test_encoder_is_frozen_and_in_evaluation_mode():
    model = toy_slam().train()
    assert model.training and not any(module.training for module in model.encoder.modules())
    sum(model(images(3, 3, 8, 8), samples(LABELS), mode='loss').values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith('encoder.'), name
        assert parameter.requires_grad != name.startswith('encoder.')


@pytest.mark.parametrize('left_out', [*LOSSES, None])
def test_losses_can_be_left_out(left_out):
    model = toy_slam(**({left_out: None} if left_out else {}))
    torch.manual_seed(0)
    found = model(images(3, 3, 8, 8), samples(LABELS), mode='loss')
    assert set(found) == set(LOSSES) - {left_out}
    assert all(loss.isfinite() and loss > 0 for loss in found.values())


def test_prediction_is_the_activation():
    model, inputs = toy_slam(test_cfg=dict(stride=1)), images(1, 3, 6, 8)
    sample, = model(inputs, samples([[1, 0, 1]], size=(6, 8)), mode='predict')
    maps = F.interpolate(model.cam_head(model.backbone(inputs)).sigmoid()[:, [1, 3]], (6, 8), mode='bilinear')[0]
    expected = maps / maps.amax(dim=(1, 2), keepdim=True)
    assert sample.pred_img_label.label.tolist() == [0, 2]
    torch.testing.assert_close(sample.pred_cam.data.float(), expected, rtol=2e-3, atol=2e-3)
    assert model(inputs).shape == (1, 3, 3, 4)
    model.cam_activation = 'relu'  # no training is needed to try it
    sample, = model(inputs, samples([[1, 0, 1]], size=(6, 8)), mode='predict')
    maps = F.interpolate(model.cam_head(model.backbone(inputs)).relu()[:, [1, 3]], (6, 8), mode='bilinear')[0]
    torch.testing.assert_close(sample.pred_cam.data.float(), maps / maps.amax(dim=(1, 2), keepdim=True), rtol=2e-3,
                               atol=2e-3)


def test_checkpoint_of_the_encoder(tmp_path):
    encoder = toy_encoder(reconstruction_weight=1.0)
    torch.save(dict(state_dict=encoder.state_dict()), tmp_path / 'encoder.pth')
    init_cfg = dict(type='StrictPretrained', checkpoint=str(tmp_path / 'encoder.pth'), ignore=(r'^decode\.',))
    model = toy_slam(encoder=encoder_config(init_cfg=init_cfg))
    init_default_scope('mmwsss')
    model.init_weights()
    inputs = images(2, 3, 8, 8)
    torch.testing.assert_close(model.encoder(inputs), encoder(inputs))
    with pytest.raises(UserError, match='no weights; train one'):
        toy_slam().init_weights()
    with pytest.raises(UserError, match='no weights; train one'):
        toy_slam(encoder=encoder_config(init_cfg=dict(init_cfg, checkpoint=None))).init_weights()


def test_start_from_a_classifier(tmp_path):
    from mmwsss.models import CAMClassifier
    init_default_scope('mmwsss')
    classifier = CAMClassifier(dict(type='SiameseToyBackbone'), dict(type='CAMHead', in_channels=6, num_classes=3))
    torch.save(dict(state_dict=classifier.state_dict()), tmp_path / 'cam.pth')
    torch.save(dict(state_dict=toy_encoder().state_dict()), tmp_path / 'encoder.pth')

    def start(checkpoint):
        model = toy_slam(background='complement', cam_activation='relu', loss_consistency=None, encoder=encoder_config(
            init_cfg=dict(type='StrictPretrained', checkpoint=str(tmp_path / 'encoder.pth'))))
        for name in ('backbone', 'cam_head'):
            getattr(model, name).init_cfg = dict(type='StrictPretrained', checkpoint=checkpoint, prefix=name)
        model.init_weights()
        return model.eval()

    inputs = images(2, 3, 8, 8)
    torch.testing.assert_close(start(str(tmp_path / 'cam.pth')).compute_cam(inputs).cam,
                               classifier.eval().compute_cam(inputs).cam)
    with pytest.raises(UserError, match=r'SLAM: starts from a trained CAM classifier.* model\.cam_head\.init_cfg'):
        start(None)
    encoder = toy_encoder()
    for checkpoint in (str(tmp_path / 'cam.pth'), None):
        encoder.backbone.init_cfg = dict(type='StrictPretrained', checkpoint=checkpoint, prefix='backbone')
        if checkpoint is None:
            with pytest.raises(UserError, match=r'^SemanticEncoder: .* model\.backbone\.init_cfg\.checkpoint=FILE$'):
                encoder.init_weights()
        else:
            encoder.init_weights()
            for found, expected in zip(encoder.backbone.parameters(), classifier.backbone.parameters(), strict=True):
                assert torch.equal(found, expected)


def test_predictions_do_without_the_encoder():
    model = toy_slam()
    patterns = model.drop_training_parts()
    assert model.encoder is None and patterns == (r'^encoder\.',)
    model.train().eval()
    assert not any(key.startswith('encoder.') for key in model.state_dict())
    assert model(images(1, 3, 6, 8), samples([[1, 0, 1]], size=(6, 8)), mode='predict')[0].pred_cam.data.shape[0] == 2


def test_images_without_label_are_refused():
    """CAMInferencer asks for them by class_filter='score' of a call."""
    with pytest.raises(UserError, match='nothing trains the maps of absent ones; give its labels'):
        toy_slam().predict(images(1, 3, 6, 8), class_filter='score')


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(test_cfg=dict(class_filter='score')), 'choose by labels'),
    (dict(background='none'), 'background is one of'), (dict(activation='max'), 'activation is one of'),
    (dict(loss_categories='some'), 'loss_categories is one of'),
    (dict(cam_activation='max'), 'cam_activation is one of'),
    (dict(encoder_scale=0), 'encoder_scale and temperature are positive'),
    (dict(temperature=0), 'temperature are positive'), (dict(cls_weight=-1), 'cls_weight not negative'),
    (dict(cam_head=dict(type='CAMHead', in_channels=6, num_classes=3)), 'does not go with a CAMHead'),
    (dict(background='complement', loss_consistency=dict(type='ActivationComplementLoss')), 'add up to 1 anyway'),
    (dict(loss_foreground=None, loss_background=None), 'say what the maps show'),
    (dict(encoder=encoder_config(4)), 'has 3 classes, the encoder 4')])
def test_settings_that_make_no_sense(kwargs, message):
    with pytest.raises(ValueError, match=message):
        toy_slam(**kwargs)


@pytest.mark.parametrize('size', [(1, 1), (1, 9)])
def test_images_of_any_size(size):
    model = toy_slam(1)
    losses = model(images(2, 3, *size), samples([[1], [0]]), mode='loss')
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())


def test_configs(repo_root):
    from mmengine.config import Config
    for name in ('efflite0_small', 'efflite0_generated', 'r38_voc'):
        encoder, slam = (Config.fromfile(repo_root / f'configs/slams/{kind}_{name}.py').model
                         for kind in ('encoder', 'slam'))
        inner = slam.encoder
        assert {key: encoder[key] for key in ('in_channels', 'embed_channels')} == {
            key: inner[key] for key in ('in_channels', 'embed_channels')}
        assert encoder.backbone.type == inner.backbone.type and 'init_cfg' not in inner.backbone
        assert encoder.data_preprocessor.mean == slam.data_preprocessor.mean  # it sees the same pixels
        assert MODELS.get(encoder.type) and MODELS.get(slam.type)

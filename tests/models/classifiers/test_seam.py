"""The losses of SEAM against slow loops written from its method page, and what trains what."""
from pathlib import Path

import numpy as np
import pytest
import seam_reference as slow
import torch
from mmengine.config import Config
from seam_reference import random
from seam_toy import WITHOUT_PCM, loss_and_gradients, samples, toy_seam

from mmwsss.models import SEAM
from mmwsss.models.heads.cam_head import classification_loss
from mmwsss.registry import MODELS

ORACLES = Path(__file__).parents[3] / '../shared/oracles'
ONE_AND_FOUR = [[0, 0, 1, 0, 0], [1, 1, 0, 1, 1]]
NAMES = {'loss_cls', 'loss_er', 'loss_ecr', 'loss_min_pool'}


def close(found, expected, rtol=1e-4):
    """Relative to the largest entry: sums of float32 cancel."""
    torch.testing.assert_close(found.double(), expected.double(), rtol=rtol,
                               atol=rtol * float(expected.detach().abs().max()))


@pytest.mark.parametrize('hard_ratio', [0.2, 1.0])
@pytest.mark.parametrize(('size', 'scale'), [((13, 10), 0.3), ((9, 12), 0.5)])
def test_losses_of_outputs_equal_loops(hard_ratio, size, scale):
    labels = torch.tensor(ONE_AND_FOUR)
    model = toy_seam(5, views=[dict(type='RescaleView', scale=scale)],
                     loss_ecr=dict(type='ECRLoss', hard_ratio=hard_ratio))
    transform = model.view.sample(2, size)
    small = transform(torch.zeros(2, 1, *size)).shape[2:]
    outputs = [x.requires_grad_() for x in (random(2, 5, *size, seed=1), random(2, 6, *size, seed=2) + 1,
                                            random(2, 5, *small, seed=3), random(2, 6, *small, seed=4) + 1)]
    expected = slow.step(*outputs, labels, lambda x: slow.rescaled(x, scale), hard_ratio)
    found = model.losses(*(x.float() for x in outputs), transform, labels.float())
    assert found.keys() == expected.keys() == NAMES
    for name, loss in expected.items():
        close(found[name], loss, rtol=1e-5)
        gradients = (torch.autograd.grad(x, outputs, allow_unused=True, retain_graph=True) for x in (found[name], loss))
        for one, two in zip(*gradients, strict=True):
            assert (one is None or not one.any()) == (two is None or not two.any())
            if one is not None:
                close(one, two)


def test_training_step_equals_loops():
    """From images and weights to the gradient of every weight, with the affinity as a whole and in blocks."""
    images, labels = random(2, 3, 11, 14, seed=5), torch.tensor(ONE_AND_FOUR)
    reference = toy_seam(5).double()
    outputs = []
    for view in (images, slow.rescaled(images, 0.3)):
        maps, feats = reference.classifier.forward_maps(view)
        theta = slow.theta(reference.pcm, feats, view, maps.shape[2:])
        revised = slow.spread(slow.pcm_seed(maps), theta)
        outputs += [slow.resize(maps, view.shape[2:]), slow.resize(revised, view.shape[2:])]
    expected = slow.step(*outputs, labels, lambda x: slow.rescaled(x, 0.3))
    sum(expected.values()).backward()
    for max_entries in (2**24, 2 * 42 * 10):
        model = toy_seam(5, pcm_options=dict(max_entries=max_entries))
        losses, gradients = loss_and_gradients(model, images.float(), ONE_AND_FOUR)
        for name, loss in expected.items():
            close(losses[name], loss)
        for name, parameter in reference.named_parameters():
            assert parameter.grad.abs().sum() > 0
            close(gradients[name], parameter.grad, rtol=1e-3)


def test_original_code_gives_the_same():
    path = ORACLES / 'seam_loss.npz'
    if not path.is_file():
        pytest.skip(f'{path} is not there')
    arrays = {key: torch.from_numpy(value) for key, value in np.load(path, allow_pickle=False).items()}
    names = ('cam1', 'cam_rv1', 'cam2', 'cam_rv2')
    outputs = [arrays[name].requires_grad_() for name in names]
    model = toy_seam(20)
    # Channel 0 of the original's CAMs is overwritten before it is used.
    cam1, revised1, cam2, revised2 = (x if '_rv' in name else x[:, 1:] for name, x in zip(names, outputs))
    losses = model.losses(cam1, revised1, cam2, revised2, model.view.sample(3, (60, 50)), arrays['label'])
    for name, expected in (('loss_cls', (arrays['loss_cls1'] + arrays['loss_cls2']) / 2),
                           ('loss_min_pool', (arrays['loss_rvmin1'] + arrays['loss_rvmin2']) / 2),
                           ('loss_er', arrays['loss_er']), ('loss_ecr', arrays['loss_ecr1'] + arrays['loss_ecr2'])):
        close(losses[name], expected)
    total = sum(losses.values())
    close(total, arrays['loss'])
    for name, gradient in zip(names, torch.autograd.grad(total, outputs)):
        close(gradient, arrays[f'grad_{name}'])


def test_which_loss_trains_what():
    model = toy_seam()
    losses = model(random(2, 3, 16, 12).float(), samples([[1, 0, 1], [0, 1, 0]]), mode='loss')
    parameters = dict(model.named_parameters())
    trained = {'loss_cls': 'classifier.', 'loss_er': 'classifier.', 'loss_ecr': 'pcm.', 'loss_min_pool': 'pcm.'}
    for name, loss in losses.items():
        gradients = torch.autograd.grad(loss, tuple(parameters.values()), allow_unused=True, retain_graph=True)
        reached = {key for key, gradient in zip(parameters, gradients) if gradient is not None and gradient.any()}
        assert reached == {key for key in parameters if key.startswith(trained[name])}, name


def test_maps_of_absent_classes_do_not_count():
    """Normalised, transformed, filtered: what a channel of an absent class holds changes nothing but its score."""
    model = toy_seam()
    transform, labels = model.view.sample(1, (10, 10)), torch.tensor([[0.0, 1.0, 0.0]])
    outputs = [random(1, c, s, s, seed=s + c).float() for s, c in ((10, 3), (10, 4), (3, 3), (3, 4))]
    changed = [x.clone() for x in outputs]
    for x in changed:
        x[:, -1] *= -3
        x[:, -3 if x.shape[1] == 3 else 1] += 7
    one, two = (model.losses(*x, transform, labels) for x in (outputs, changed))
    assert one['loss_cls'] != two['loss_cls']
    for name in NAMES - {'loss_cls'}:
        assert one[name] == two[name], name


@pytest.mark.parametrize(('kwargs', 'names'), [
    ({}, NAMES), (WITHOUT_PCM, {'loss_cls', 'loss_er'}), (dict(WITHOUT_PCM, loss_er=None), {'loss_cls'}),
    (dict(loss_er=None), NAMES - {'loss_er'}), (dict(loss_min_pool=None), NAMES - {'loss_min_pool'}),
    (dict(loss_ecr=dict(type='ECRLoss', hard_ratio=1.0)), NAMES)])
def test_parts_can_be_left_out(kwargs, names):
    images, labels = random(2, 3, 16, 12).float(), [[1, 0, 1], [0, 1, 0]]
    full, _ = loss_and_gradients(toy_seam(), images, labels)
    found, gradients = loss_and_gradients(toy_seam(**kwargs), images, labels)
    assert set(found) == names
    for name in names - {'loss_ecr'}:
        torch.testing.assert_close(found[name], full[name])
    # Nothing is left that no loss trains: DDP would wait for it.
    assert all(gradient is not None for gradient in gradients.values())
    assert any(name.startswith('pcm.') for name in gradients) == (kwargs.get('pcm', 1) is not None)
    if kwargs.get('loss_ecr'):
        assert 0 < found['loss_ecr'] < full['loss_ecr']  # the hard entries are above the mean


def test_weights_of_the_losses():
    images, labels = random(2, 3, 16, 12).float(), [[1, 0, 1], [0, 1, 0]]
    full, _ = loss_and_gradients(toy_seam(), images, labels)
    for name, kind in (('loss_er', 'ERLoss'), ('loss_ecr', 'ECRLoss'), ('loss_min_pool', 'MinPoolingLoss')):
        found, _ = loss_and_gradients(toy_seam(**{name: dict(type=kind, loss_weight=3.0)}), images, labels)
        for key in NAMES:
            torch.testing.assert_close(found[key], full[key] * (3 if key == name else 1))


@pytest.mark.parametrize('kwargs', [dict(pcm=None), dict(loss_ecr=None), dict(pcm=None, loss_ecr=None),
                                    dict(WITHOUT_PCM, loss_ecr=dict(type='ECRLoss')), dict(train_cfg=dict(a=1))])
def test_parts_that_do_not_fit(kwargs):
    with pytest.raises(ValueError, match='SEAM'):
        toy_seam(**kwargs)
    with pytest.raises(ValueError, match='ComposeViews'):
        toy_seam(views=[])


@pytest.mark.parametrize('head', [dict(), dict(type='LSECAMHead', r=3.0)])
def test_scores_are_pooled_from_the_enlarged_maps_as_the_classifier_pools(head, repo_root, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root / 'projects/example_project'))
    from my_method import LSECAMHead, log_sum_exp_pool
    model = toy_seam(cam_head=head)
    assert isinstance(model.classifier.cam_head, LSECAMHead) == bool(head)
    images, labels = random(2, 3, 20, 14).float(), torch.tensor([[1, 0, 1], [0, 1, 0]])
    expected = []
    for view in (images, slow.rescaled(images.double(), 0.3).float()):
        maps = slow.resize(model.classifier.forward_maps(view)[0].double(), view.shape[2:])
        expected.append(classification_loss(log_sum_exp_pool(maps, 3.0) if head else maps.mean(dim=(2, 3)), labels))
    close(model.loss(images, samples(labels.tolist()))['loss_cls'], sum(expected) / 2)


@pytest.mark.parametrize('kwargs', [{}, WITHOUT_PCM])
@pytest.mark.parametrize('size', [(1, 1), (1, 9), (4, 4)])
def test_images_of_any_size_with_or_without_a_class(kwargs, size):
    model = toy_seam(1, **kwargs)
    for labels in ([[0], [0]], [[1], [0]]):
        losses, gradients = loss_and_gradients(model, random(2, 3, *size).float(), labels)
        assert all(loss.isfinite() for loss in losses.values())
        assert all(gradient.isfinite().all() for gradient in gradients.values())
    losses, _ = loss_and_gradients(model, torch.zeros(2, 3, *size), [[1], [0]])
    assert losses['loss_er'] == 0


def test_memory_format_does_not_matter():
    model, images = toy_seam(), random(2, 3, 16, 12).float()
    one = loss_and_gradients(model, images, [[1, 0, 1], [0, 1, 0]])
    two = loss_and_gradients(model.to(memory_format=torch.channels_last),
                             images.to(memory_format=torch.channels_last), [[1, 0, 1], [0, 1, 0]])
    for a, b in zip(one, two):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5)


def test_keys_of_the_checkpoint():
    keys = set(toy_seam().state_dict())
    assert keys == {'classifier.backbone.first.weight', 'classifier.backbone.second.weight',
                    'classifier.cam_head.conv_cam.weight', 'pcm.reduce.0.weight', 'pcm.reduce.1.weight',
                    'pcm.theta.weight'}


def test_configs_of_the_ablations(repo_root):
    """Rows of Tables 1, 3 and 4."""
    configs = {path.stem: Config.fromfile(path) for path in (repo_root / 'configs/seam').glob('seam_*.py')}
    models = {name: config.model for name, config in configs.items()}
    paper = configs['seam_r38_voc']
    assert {part: models['seam_r38_voc_er'][part] for part in WITHOUT_PCM} == WITHOUT_PCM
    assert models['seam_r38_voc_pcm'].loss_ecr.hard_ratio == 1.0
    assert paper.model.loss_ecr.hard_ratio == 0.2 and paper.model.views == [dict(type='RescaleView', scale=0.3)]
    assert paper.model.test_cfg.normalize == 'min_max'
    for name, model in models.items():
        losses = [loss for loss in (model.loss_er, model.loss_ecr, model.loss_min_pool) if loss]
        assert all(loss.get('loss_weight', 1) == 1 for loss in losses), name
        assert model.classifier.cam_head.num_classes is None, name
    for name in ('er', 'pcm', 'flip', 'rate05', 'rotation', 'translation'):
        child = configs[f'seam_r38_voc_{name}'].to_dict()
        assert child['model'] != paper.model.to_dict()
        assert dict(child, model=None) == dict(paper.to_dict(), model=None)


@pytest.mark.parametrize('name', ['seam_r38_voc', 'seam_r38_voc_rotation', 'seam_r50_small', 'seam_efflite0_small_er'])
def test_parts_of_the_models_in_the_configs_fit(repo_root, name):
    """Shapes alone: on the meta device nothing is computed."""
    config = Config.fromfile(repo_root / f'configs/seam/{name}.py').model
    config.classifier.backbone.init_cfg = None
    config.classifier.cam_head.num_classes = 2
    with torch.device('meta'):
        model = MODELS.build(config).train()
    assert isinstance(model, SEAM)
    losses, gradients = loss_and_gradients(model, torch.zeros(2, 3, 64, 64, device='meta'), [[1, 0], [1, 1]])
    assert set(losses) == ({'loss_cls', 'loss_er'} if name.endswith('_er') else NAMES)
    trainable = {key for key, p in model.named_parameters() if p.requires_grad}
    assert {key for key, gradient in gradients.items() if gradient is not None} == trainable

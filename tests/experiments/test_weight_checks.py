"""Weights that are missing or do not fit are found before anything is trained."""
import copy
from urllib.error import URLError

import cv2
import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.models.backbones import ResNet
from torch import nn

from mmwsss.converters.convert_file import convert_file
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.engine.input_statistics import STYLES
from mmwsss.experiments import weight_checks
from mmwsss.experiments.pipeline.pipeline import Pipeline
from mmwsss.experiments.weight_checks import check_checkpoint, check_hook_weights, check_training_weights, check_weights
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

TINY = dict(base_channels=4, stem_channels=4)


@pytest.fixture(scope='module')
def weights(tmp_path_factory, generated_root):
    """File of a tiny ResNet18 in torchvision's style, whose BatchNorms have seen the images in that style."""
    torch.manual_seed(0)
    backbone = ResNet(depth=18, style='pytorch', **TINY)
    backbone.init_weights()
    for norm in (part for part in backbone.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.momentum = None
    backbone.train()
    with torch.no_grad():
        for path in sorted((generated_root / 'JPEGImages').glob('train_*')):
            image = torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1).float()
            backbone(STYLES['torchvision'][0].normalize(image)[None])
    file = tmp_path_factory.mktemp('weights') / 'resnet18.pth'
    torch.save(backbone.state_dict(), file)
    return file


def use_resnet(cfg, checkpoint, depth=18, style='torchvision'):
    """Makes the tiny config one of a ResNet with weights, for images of a style."""
    images, resnet = STYLES[style]
    cfg.model.backbone = ConfigDict(type='ResNet', depth=depth, style=resnet, **TINY, init_cfg=dict(
        type='StrictPretrained', checkpoint=str(checkpoint)))
    cfg.model.data_preprocessor.update(mean=list(images.mean), std=list(images.std), bgr_to_rgb=images.bgr_to_rgb)
    return cfg


@pytest.fixture
def check(tiny_cam_cfg, generated_root):
    """Checks the training of a ResNet, see :func:`use_resnet`."""
    def check(checkpoint, *args, **changes):
        cfg = use_resnet(copy.deepcopy(tiny_cam_cfg), checkpoint, *args)
        cfg.merge_from_dict(changes)
        check_training_weights(cfg, DataFolder.find(generated_root), 'train')
    return check


def test_weights_that_fit_are_read_once(check, weights, monkeypatch):
    monkeypatch.setattr(weight_checks, '_fitting', set())
    state = torch.get_rng_state()
    check(weights)
    assert torch.equal(torch.get_rng_state(), state)  # the training draws as ever
    monkeypatch.setattr(MODELS, 'build', None)  # called, it fails
    check(weights, **{'train_dataloader.batch_size': 3})  # another training with these weights
    with pytest.raises(TypeError, match='not callable'):
        check(weights, **{'model.backbone.in_channels': 3, 'model.cam_head.in_channels': 7})


def test_weights_of_another_depth(check, weights):
    with pytest.raises(UserError, match=r'resnet18\.pth: \d+ keys missing \(layer1\.2\.conv1\.weight.*ResNet'):
        check(weights, 34)


def test_a_file_that_was_cut_short(check, weights, tmp_path):
    (tmp_path / 'half.pth').write_bytes(weights.read_bytes()[:20000])
    with pytest.raises(UserError, match=r'half\.pth: is truncated or no checkpoint'):
        check(tmp_path / 'half.pth')
    check(weights)
    with pytest.raises(UserError, match=r'half\.pth: is truncated or no checkpoint'):
        check(weights, load_from=str(tmp_path / 'half.pth'))


def test_weights_of_the_other_style(check, weights, tmp_path):
    with pytest.raises(UserError, match=r'^model\.backbone: .*times as large.*which are in torchvision style'):
        check(weights, 18, 'caffe')
    check(weights, 18, 'caffe', check_input_statistics=False)
    torch.save(dict(state_dict=torch.load(weights, weights_only=True), meta=dict(style='pytorch')),
               tmp_path / 'said.pth')
    with pytest.raises(UserError, match=r"said\.pth: is a ResNet with style='pytorch'"):
        check(tmp_path / 'said.pth', 18, 'caffe', check_input_statistics=False)


def test_converted_weights_for_the_other_order_of_channels(check, tmp_path):
    """The BatchNorms have seen nothing, so that only what the files say can tell."""
    torch.save(ResNet(depth=50, style='caffe', **TINY).state_dict(), tmp_path / 'original.pth')
    for channels in ('rgb', 'bgr'):
        convert_file('resnet50_caffe', tmp_path / 'original.pth', tmp_path / f'{channels}.pth', channels=channels)
    check(tmp_path / 'bgr.pth', 50, 'caffe')
    turned = {'model.data_preprocessor.mean': [123.68, 116.779, 103.939], 'model.data_preprocessor.bgr_to_rgb': True}
    for file, options, order in (('rgb.pth', {}, 'RGB'), ('bgr.pth', turned, 'BGR')):
        with pytest.raises(UserError, match=rf'{file}, which are for {order} images; set mean='):
            check(tmp_path / file, 50, 'caffe', check_input_statistics=False, **options)
        check(tmp_path / file, 50, 'caffe', load_from=str(tmp_path / file), **options)  # in place of these weights
    check(tmp_path / 'rgb.pth', 50, 'caffe', **turned)


def test_damaged_images_are_passed_over(tiny_cam_cfg, weights, generated_copy):
    for path in (generated_copy / 'JPEGImages').iterdir():
        path.write_bytes(b'damaged')
    check_training_weights(use_resnet(tiny_cam_cfg, weights, 18, 'caffe'), DataFolder.find(generated_copy), 'train')


def test_what_is_not_made_yet_is_not_read(check, monkeypatch):
    monkeypatch.setattr(MODELS, 'build', None)
    check('')


def test_second_networks_of_hooks(tiny_cam_cfg, weights, tmp_path):
    def with_network(checkpoint, depth):
        cfg = copy.deepcopy(tiny_cam_cfg)
        network = use_resnet(copy.deepcopy(cfg), checkpoint, depth).model.backbone
        cfg.model.inference_hooks = [dict(type='ExternalFeatures', backbone=network, hook=dict(type='SSA'))]
        return cfg

    check_hook_weights(tiny_cam_cfg)
    check_hook_weights(with_network(weights, 18))
    with pytest.raises(UserError, match='keys missing'):
        check_hook_weights(with_network(weights, 34))
    with pytest.raises(UserError, match=r'gone\.pth: no such file of weights'):
        check_hook_weights(with_network(tmp_path / 'gone.pth', 18))


def test_a_checkpoint_from_elsewhere(tiny_cam_cfg, generated_root, tmp_path):
    classes, file = DataFolder.find(generated_root).classes, str(tmp_path / 'trained.pth')
    state = MODELS.build(copy.deepcopy(tiny_cam_cfg.model)).state_dict()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=classes))), file)
    check_checkpoint(tiny_cam_cfg, file, classes)
    with pytest.raises(UserError, match='was trained with the classes'):
        check_checkpoint(tiny_cam_cfg, file, classes[::-1])
    tiny_cam_cfg.model.cam_head.num_classes = 7
    with pytest.raises(UserError, match=r'of another shape \(cam_head'):
        check_checkpoint(tiny_cam_cfg, file, classes)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No server can be reached: the addresses that were asked for."""
    asked = []

    def download(url, path, progress):
        asked.append(url)
        raise URLError('no network')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    return asked


@pytest.mark.parametrize('name', ['https://example.org/a.pth', 'open-mmlab://resnet50_v1c'])
def test_weights_that_cannot_be_downloaded(offline, tiny_cam_cfg, name):
    with pytest.raises(UserError) as error:
        check_weights(use_resnet(tiny_cam_cfg, name))
    url, = offline
    assert str(error.value) == (f'{url}: cannot be downloaded (<urlopen error no network>); get the file by other '
                                'means, and name it with --weights or model.backbone.init_cfg.checkpoint=FILE')


def test_weights_that_a_zoo_does_not_have(tiny_cam_cfg):
    with pytest.raises(UserError) as error:
        check_weights(use_resnet(tiny_cam_cfg, 'open-mmlab://resnet7'))
    assert str(error.value) == ('open-mmlab://resnet7: open-mmlab has no such model; get the file by other means, and '
                                'name it with --weights or model.backbone.init_cfg.checkpoint=FILE')


def test_a_pipeline_offline_fails_at_its_start(offline, tiny_pipeline, generated_root, tmp_path):
    """The segmentor is the sixth stage; nothing has run before the error."""
    init = 'cfg_options.segmentor.model.backbone.init_cfg'
    pipeline = Pipeline(tiny_pipeline, generated_root, tmp_path / 'work', cfg_options={
        init: dict(_delete_=True, type='StrictPretrained', checkpoint='open-mmlab://resnet50_v1c')})
    with pytest.raises(UserError, match=rf'^stage segmentor: .*with --weights segmentor=FILE or {init}\.checkpoint='):
        pipeline.run()
    assert [path.name for path in (tmp_path / 'work').iterdir()] == ['run.lock']


@pytest.mark.parametrize(('name', 'reason'), [
    ('package://numpy/nothing.pth', 'has no file nothing.pth'), ('package://no_such_package_x/a.pth', 'not installed')])
def test_weights_that_a_package_does_not_have(tiny_cam_cfg, name, reason):
    with pytest.raises(UserError, match=f'^{name}: .*{reason}.*, or name other weights with --weights or '
                                        r'model\.backbone\.init_cfg\.checkpoint=FILE$'):
        check_weights(use_resnet(tiny_cam_cfg, name))

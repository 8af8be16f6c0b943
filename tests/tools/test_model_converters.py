import argparse
import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from warm_python import warm_python

from mmwsss.cli.run_cli import run_cli
from mmwsss.engine.checkpoint import load_checkpoint_file, load_weights_strict, trained_classes
from mmwsss.engine.weight_init import StrictPretrained
from mmwsss.models import SEAM, CAMClassifier
from mmwsss.models.backbones.resnet38 import ResNet38

sys.path.insert(0, str(Path(__file__).parents[1] / 'converters'))
from original_weights import (
    affinity_net_weights,
    irnet_cam_weights,
    irnet_weights,
    mxnet_file,
    mxnet_weights,
    psa_weights,
    seam_weights,
)

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/model_converters/convert.py'
CLASSES = ('cat', 'dog', 'owl')


@pytest.fixture(scope='module', autouse=True)
def logger():
    """Made before any ``capsys``, since it keeps the stream that it finds, and ``capsys`` closes its own."""
    MMLogger.get_current_instance()


@pytest.fixture(scope='module')
def module(load_tool):
    return load_tool('model_converters/convert.py')


@pytest.fixture
def tool(tmp_path, module, monkeypatch, capsys):
    """Runs the tool in this process, in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '110')
    Path('classes.txt').write_text('cat\n dog\n\nowl\n')

    def run(source, src='src.pth', dst='new/dst.pth', *options):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), '--source', source, src, dst, *options])
        with pytest.raises(SystemExit) as caught:
            run_cli(module.main)
        return (caught.value.code, *capsys.readouterr())

    return run


def fails(outcome, *words):
    code, stdout, stderr = outcome
    assert (code, stdout, stderr.count('\n')) == (1, '', 1), outcome
    assert stderr.startswith('error: ') and all(word in stderr for word in words), stderr
    assert not Path('new').exists()


def cam_classifier(backbone, in_channels, num_classes=3):
    return CAMClassifier(backbone, dict(type='CAMHead', in_channels=in_channels, num_classes=num_classes))


def test_seam(tool):
    weights = seam_weights()
    torch.save(OrderedDict((f'module.{key}', value) for key, value in weights.items()), 'src.pth')
    code, stdout, stderr = tool('seam', 'src.pth', 'new/dst.pth', '--classes-file', 'classes.txt')
    assert (code, stderr) == (0, '')
    rows = [' '.join(line.replace('│', ' ').replace('┃', ' ').split()) for line in stdout.splitlines()]
    assert "SEAM's network in src.pth" in stdout and rows[-1] == 'new/dst.pth: written'
    assert 'mapped 232 to as many of the 232 keys of mmwsss' in rows and 'all keys 232' in rows
    assert any(row.startswith('fc8.weight without its first row: channel 0, the background') for row in rows)
    assert any(row.startswith('aliases 0') for row in rows) and 'left out 0' in rows
    classifier = dict(type='CAMClassifier', backbone=dict(type='ResNet38', base_channels=1),
                      cam_head=dict(type='CAMHead', in_channels=64, num_classes=3))
    model = SEAM(classifier, loss_ecr=dict(type='ECRLoss'), pcm=dict(
        type='PCM', in_channels=(8, 16), reduced_channels=(2, 4), channels=6))
    assert trained_classes(load_weights_strict(model, 'new/dst.pth')) == CLASSES
    assert torch.equal(model.classifier.cam_head.conv_cam.weight, weights['fc8.weight'][1:])
    assert torch.equal(model.pcm.theta.weight, weights['f9.weight'])


def test_psa_with_the_classes_of_voc(tool):
    torch.save(psa_weights(num_classes=20), 'src.pth')
    code, _, stderr = tool('psa')
    assert (code, stderr) == (0, '')
    model = cam_classifier(dict(type='ResNet38', base_channels=1), 64, 20)
    names = trained_classes(load_weights_strict(model, 'new/dst.pth'))
    assert len(names) == 20 and list(names) == sorted(names) and names[14] == 'person'


def test_irnet_cam(tool):
    torch.save(irnet_cam_weights(), 'src.pth')
    code, stdout, _ = tool('irnet_cam', 'src.pth', 'new/dst.pth', '--classes-file', 'classes.txt')
    rows = [' '.join(line.replace('│', ' ').split()) for line in stdout.splitlines()]
    assert code == 0 and 'mapped 319 to as many of the 319 keys of mmwsss' in rows and 'all keys 956' in rows
    assert 'aliases 637 hold the same values as a key that is mapped' in rows
    load_weights_strict(cam_classifier(dict(type='ResNet', depth=50, stem_channels=1, base_channels=1), 32),
                        'new/dst.pth')


def test_networks_without_classes(tool):
    torch.save(affinity_net_weights(), 'src.pth')
    code, stdout, _ = tool('affinitynet')
    assert code == 0 and '232' in stdout and 'AffinityNet, of PSA or SEAM' in stdout
    checkpoint = load_checkpoint_file('new/dst.pth')
    assert trained_classes(checkpoint) == () and 'affinity_head.embed.weight' in checkpoint['state_dict']
    torch.save(irnet_weights(), 'src.pth')
    code, stdout, _ = tool('irnet')
    rows = [' '.join(line.replace('│', ' ').split()) for line in stdout.splitlines()]
    assert code == 0 and 'mapped 358 to as many of the 358 keys of mmwsss' in rows and 'all keys 1035' in rows
    assert tool('irnet', 'src.pth', 'new/dst.pth', '--classes-file', 'classes.txt')[2] == (
        'error: --classes-file: irnet has no classes; leave the option out\n')


def test_resnet38_mxnet(tool):
    weights = mxnet_weights()
    Path('resnet38.params').write_bytes(mxnet_file(weights, version=1))
    code, stdout, _ = tool('resnet38_mxnet', 'resnet38.params')
    rows = [' '.join(line.replace('│', ' ').split()) for line in stdout.splitlines()]
    number = len(weights) - 2
    assert code == 0 and f'mapped {number} to as many of the {number + 37} keys of mmwsss' in rows
    assert '37 num_batches_tracked, which are not in the file, are 0' in rows
    assert 'left out 2 arg:linear1000_weight, arg:linear1000_bias: classifier of the ImageNet classes' in rows
    backbone = ResNet38(base_channels=1, init_cfg=dict(type='StrictPretrained', checkpoint='new/dst.pth'))
    with DefaultScope.overwrite_default_scope('mmwsss'):  # a Runner does that
        backbone.init_weights()
    assert torch.equal(backbone.b7.bn_branch2b2.running_var, weights['aux:bn7a_branch2b2_moving_var'])
    StrictPretrained('new/dst.pth', ignore=())(backbone)  # nothing is left over
    assert trained_classes(load_checkpoint_file('new/dst.pth')) == ()


def test_same_input_gives_the_same_file(tool):
    torch.save(psa_weights(num_classes=20), 'src.pth')
    assert [tool('psa', 'src.pth', name)[0] for name in ('a.pth', 'b.pth')] == [0, 0]
    assert Path('a.pth').read_bytes() == Path('b.pth').read_bytes()


def test_bad_files(tool):
    fails(tool('psa'), 'src.pth: no such checkpoint file')
    fails(tool('psa', '.'), 'no such checkpoint file')
    fails(tool('resnet38_mxnet'), 'src.pth: no such parameter file')
    torch.save(psa_weights(), 'src.pth')
    whole = Path('src.pth').read_bytes()
    Path('cut.pth').write_bytes(whole[:len(whole) // 2])
    fails(tool('psa', 'cut.pth'), 'cut.pth: is truncated')
    fails(tool('seam'), 'src.pth: 1 key missing (f9.weight)', "SEAM's network")
    fails(tool('resnet38_mxnet'), 'src.pth: is no parameter file of MXNet')
    Path('cut.params').write_bytes(mxnet_file(mxnet_weights())[:5000])
    fails(tool('resnet38_mxnet', 'cut.params'), 'cut.params: is damaged', 'truncated')
    fails(tool('psa', 'cut.params'), 'cut.params: is truncated or no checkpoint')


def test_bad_options(tool):
    torch.save(psa_weights(), 'src.pth')
    fails(tool('psa'), 'src.pth: has 3 classes', '--classes-file')
    for text in ('cat\ndog', 'cat\ndog\ndog', 'background\ncat\ndog\nowl'):
        Path('wrong.txt').write_text(text)
        fails(tool('psa', 'src.pth', 'new/dst.pth', '--classes-file', 'wrong.txt'), 'wrong.txt: ', '3 foreground')
    fails(tool('psa', 'src.pth', 'new/dst.pth', '--classes-file', 'none.txt'), 'none.txt: cannot be read')
    before = Path('src.pth').read_bytes()
    fails(tool('psa', 'src.pth', './src.pth', '--classes-file', 'classes.txt'), './src.pth'[2:], 'is the original')
    assert Path('src.pth').read_bytes() == before
    Path('a.params').write_bytes(mxnet_file(mxnet_weights()))
    fails(tool('resnet38_mxnet', 'a.params', 'new/dst.pth', '--classes-file', 'classes.txt'), '--classes-file')
    fails(tool('resnet38_mxnet', 'a.params', 'new/dst.pth', '--trust-pickle'), '--trust-pickle')
    assert tool('vgg16')[0] == 2


def test_a_file_that_cannot_be_written(tool):
    torch.save(psa_weights(num_classes=20), 'src.pth')
    Path('folder').mkdir()
    fails(tool('psa', 'src.pth', 'folder'), 'cannot use', 'folder')
    fails(tool('psa', 'src.pth', 'classes.txt/dst.pth'), 'cannot use')
    assert sorted(os.listdir()) == ['classes.txt', 'folder', 'src.pth'] and not os.listdir('folder')


class Marker:
    """Leaves a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path('unpickled'),)


@pytest.mark.parametrize('extra', [argparse.Namespace(lr=1), Marker()])
def test_pickles(tool, extra):
    weights = psa_weights(num_classes=20)
    torch.save(dict(state_dict=weights, extra=extra), 'src.pth')
    fails(tool('psa'), 'src.pth: holds Python objects')
    assert not Path('unpickled').exists()
    code, _, stderr = tool('psa', 'src.pth', 'new/dst.pth', '--trust-pickle')
    assert code == 0 and stderr == 'src.pth: unpickled because of --trust-pickle, which runs code from the file\n'
    assert Path('unpickled').exists() == isinstance(extra, Marker)
    checkpoint = load_checkpoint_file('new/dst.pth')  # loads with weights_only=True
    assert torch.equal(checkpoint['state_dict']['cam_head.conv_cam.weight'], weights['fc8.weight'])


def test_pickled_module_and_broken_pickle(tool):
    backbone = ResNet38(base_channels=1)
    backbone.fc8 = torch.nn.Conv2d(64, 20, 1, bias=False)
    torch.save(backbone, 'src.pth')
    assert tool('psa', 'src.pth', 'dst.pth', '--trust-pickle')[0] == 0
    whole = Path('src.pth').read_bytes()
    Path('cut.pth').write_bytes(whole[:len(whole) // 2])
    for name, words in (('cut.pth', 'cannot be unpickled'), ('none.pth', 'no such')):
        code, _, stderr = tool('psa', name, 'other.pth', '--trust-pickle')
        assert code == 1 and f'error: {name}: {words}' in stderr and stderr.count('\n') == 1 + name.startswith('cut')
    assert not Path('other.pth').exists()


def test_as_a_program(tmp_path):
    torch.save(psa_weights(), tmp_path / 'src.pth')
    (tmp_path / 'classes.txt').write_text('\n'.join(CLASSES))
    result = subprocess.run(
        [warm_python(), str(TOOL), '--source', 'psa', 'src.pth', 'dst.pth', '--classes-file', 'classes.txt'],
        cwd=tmp_path, env=dict(os.environ, PYTHONPATH=str(ROOT)), capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, '')
    assert 'dst.pth: written' in result.stdout
    model = cam_classifier(dict(type='ResNet38', base_channels=1), 64)
    assert trained_classes(load_weights_strict(model, tmp_path / 'dst.pth')) == CLASSES

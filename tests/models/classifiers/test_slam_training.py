"""Training of SLAMs: on two ranks; encoder, activation network and CAMs as stages of a pipeline."""
import json

import pytest
import slam_ddp_worker as worker
import torch
from mmengine.config import Config
from seam_toy import loss_and_gradients
from two_ranks import run_script

from mmwsss.experiments.pipeline.pipeline import Pipeline
from mmwsss.structures.cam_file import read_cam
from mmwsss.utils.errors import EXIT_DONE, UserError


def test_two_ranks_give_losses_and_gradients_of_one_with_twice_the_batch(tmp_path):
    expected, gradients = loss_and_gradients(worker.model(), worker.batch(), worker.LABELS)
    (one, gradients1), (two, gradients2) = run_script(worker.__file__, tmp_path)
    assert expected.keys() == one.keys() == two.keys() and len(expected) == 4
    for name, loss in expected.items():
        torch.testing.assert_close((one[name] + two[name]) / 2, loss, rtol=1e-5, atol=1e-6)
    learned = {name for name, gradient in gradients.items() if gradient is not None}
    assert learned and not any(name.startswith('encoder.') for name in learned)
    for name in learned:
        torch.testing.assert_close(gradients1[name], gradients[name], rtol=1e-3, atol=1e-6)
        assert torch.equal(gradients1[name], gradients2[name])


PIPELINE = '''
configs = dict(start='cam.py', encoder='encoder.py', cam='slam.py')
stages = dict(
    start=dict(type='train', config='start', split='train'),
    encoder=dict(type='train', config='encoder', split='train', inputs=dict(start='start')),
    classifier=dict(type='train', config='cam', split='train', inputs=dict(encoder='encoder', start='start')),
    cam=dict(type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    eval_cam=dict(type='eval_cam', split='train', inputs=dict(cams='cam')),
)
'''


@pytest.fixture
def config(tmp_path, repo_root, tiny_cam_options):
    """A pipeline config of tiny networks."""
    tiny = {**tiny_cam_options, 'train_cfg.max_epochs': 1}
    for name, folder in (('cam', 'cam'), ('encoder', 'slams'), ('slam', 'slams')):
        cfg = Config.fromfile(repo_root / f'configs/{folder}/{name}_efflite0_small.py')
        cfg.merge_from_dict({key: value for key, value in tiny.items()
                             if name != 'encoder' or not key.startswith(('test_', 'model.inference_hooks'))})
        if name == 'slam':
            cfg.model.backbone.update(frozen_stages=8, norm_eval=True, norm_frozen=True)
        cfg.dump(tmp_path / f'{name}.py')
    (tmp_path / 'pipeline.py').write_text(PIPELINE)
    return tmp_path / 'pipeline.py'


def test_pipeline(config, generated_root, tmp_path):
    pipeline = Pipeline(config, generated_root, tmp_path / 'work')
    assert pipeline.run() == EXIT_DONE
    encoder, start, slam = (torch.load(tmp_path / f'work/{stage}/epoch_1.pth', weights_only=True)['state_dict']
                            for stage in ('encoder', 'start', 'classifier'))
    frozen = {key.removeprefix('encoder.'): value for key, value in slam.items() if key.startswith('encoder.')}
    assert frozen.keys() == encoder.keys()
    assert all(torch.equal(frozen[key], value) for key, value in encoder.items())
    # The backbone is the classifier's, and stays; the head has learned on.
    assert all(torch.equal(slam[key], value) for key, value in start.items() if key.startswith('backbone.'))
    assert 0 < (slam['cam_head.conv_cam.weight'] - start['cam_head.conv_cam.weight']).abs().max() < 0.1
    assert 0 < json.loads((tmp_path / 'work/eval_cam/metrics.json').read_text())['mIoU'] < 1
    cams = [read_cam(path) for path in (tmp_path / 'work/cam/cam').glob('*.npz')]
    assert len(cams) == 12 and all(len(cam.classes) == len(cam.cam) for cam in cams)


@pytest.mark.parametrize(('missing', 'message'), [
    ("encoder='encoder', ", 'the semantic encoder has no weights'),
    (", start='start'", 'starts from a trained CAM classifier; name the stage')])
def test_without_what_it_needs(config, generated_root, tmp_path, missing, message):
    config.write_text(PIPELINE.replace(missing, ''))
    with pytest.raises(UserError, match=message):
        Pipeline(config, generated_root, tmp_path / 'work').run()

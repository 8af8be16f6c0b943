"""Training of PixelSelfSupervision: several ranks, hooks, kill and resume."""

import pixel_self_supervision_ddp_worker
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from pixel_self_supervision_ddp_worker import MODELS, run
from pixel_self_supervision_toy import LABELS, images, samples, toy_cfg
from torch.utils.data import Dataset
from two_ranks import run_script

import mmwsss.datasets  # noqa: F401  registers the components
from mmwsss.registry import DATASETS, HOOKS


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    return run_script(pixel_self_supervision_ddp_worker.__file__, tmp_path_factory.mktemp('ranks'))


@pytest.mark.parametrize('name', [name for name in MODELS if name != 'batch norm'])
def test_two_ranks_give_losses_and_gradients_of_one_with_twice_the_batch(ranks, name):
    expected, state = run(MODELS[name])
    (steps1, state1), (steps2, state2) = (rank[name] for rank in ranks)
    for (losses, gradients), (losses1, gradients1), (losses2, gradients2) in zip(expected, steps1, steps2):
        assert losses.keys() == losses1.keys() == losses2.keys()
        for key, loss in losses.items():
            torch.testing.assert_close((losses1[key] + losses2[key]) / 2, loss, rtol=1e-5, atol=1e-6)
            assert losses1[key] != losses2[key]
        assert gradients.keys() == gradients1.keys() and gradients
        for key, gradient in gradients.items():
            assert torch.equal(gradients1[key], gradients2[key])
            torch.testing.assert_close(gradients1[key], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))
    assert state.keys() == state1.keys() == state2.keys()
    for key, value in state.items():  # SupportNet and the prototypes after the steps
        assert torch.equal(state1[key], state2[key])
        torch.testing.assert_close(state1[key], value, rtol=1e-3, atol=1e-5)


def test_support_net_is_the_same_on_ranks_with_their_own_batch_norm(ranks):
    (_, state1), (_, state2) = (rank['batch norm'] for rank in ranks)
    assert not torch.equal(state1['main_net.backbone.norm.running_mean'], state2['main_net.backbone.norm.running_mean'])
    for key, value in state1.items():
        assert torch.equal(value, state2[key]) or key.startswith('main_net.backbone.norm.running')


@DATASETS.register_module(force=True)
class SelfSupervisionToyDataset(Dataset):
    metainfo = dict(classes=('one', 'two', 'three'))

    def __len__(self):
        return 10

    def __getitem__(self, index):
        image = (60 * images(1, seed=index)[0] + 128).clamp(0, 255).byte()
        return dict(inputs=image, data_samples=samples([LABELS[index % 4]])[0])


@HOOKS.register_module(force=True)
class WatchSelfSupervision(Hook):
    """Keeps which losses there are, and what SupportNet was before and after MainNet's step; may end the process."""

    priority = 'LOWEST'

    def __init__(self, kill=None):
        self.kill = kill

    def before_train(self, runner):
        runner.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.kill:
            raise InterruptedError
        model = runner.model
        self.before = {key: value.clone() for key, value in model.support_net.state_dict().items()}
        if runner.iter == 0:
            assert all(torch.equal(value, self.before[key]) for key, value in model.main_net.state_dict().items())

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        main, support = runner.model.main_net.state_dict(), runner.model.support_net.state_dict()
        for key, value in support.items():
            if value.is_floating_point():
                torch.testing.assert_close(value, 0.8 * self.before[key] + 0.2 * main[key])
        runner.seen.append(sorted(name for name in outputs if name.startswith('loss_')))


def train(work_dir, kill=None, resume=False, **model):
    cfg = toy_cfg(backbone=dict(norm=True, dropout=0.3), momentum=0.2, data_preprocessor=dict(
        type='WSSSDataPreProcessor', mean=[128.0] * 3, std=[60.0] * 3, size=(16, 12)), **model)
    runner = Runner(
        model=cfg, work_dir=str(work_dir), default_scope='mmwsss', log_level='ERROR', resume=resume,
        train_dataloader=dict(dataset=dict(type='SelfSupervisionToyDataset'), batch_size=4, num_workers=0,
                              sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(by_epoch=True, max_epochs=3), randomness=dict(seed=5),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9),
                           constructor='WSSSOptimWrapperConstructor'),
        default_hooks=dict(checkpoint=dict(type='SafeCheckpointHook', interval=1)),
        custom_hooks=[dict(type='SeedHook'), dict(type='ChannelsLastHook'), dict(type='SupportNetHook'),
                      dict(type='LossWeightScheduleHook', name='mam', begin=0.3),
                      dict(type='WatchSelfSupervision', kill=kill)],
        visualizer=dict(type='Visualizer', vis_backends=[]), experiment_name=f'{work_dir.name}{resume}')
    if kill is None:
        runner.train()
    else:
        with pytest.raises(InterruptedError):
            runner.train()
    return runner


def test_a_killed_and_resumed_training_ends_with_the_same_tensors(tmp_path):
    whole = train(tmp_path / 'whole')
    with_mam = ['loss_cls', 'loss_mam', 'loss_rcm']
    assert whole.seen == 3 * [['loss_cls', 'loss_rcm']] + 6 * [with_mam]
    train(tmp_path / 'parts', kill=4)  # in the second epoch
    resumed = train(tmp_path / 'parts', resume=True)
    assert resumed.seen == 6 * [with_mam]
    state, again = whole.model.state_dict(), resumed.model.state_dict()
    assert {key.split('.')[0] for key in state} == {'main_net', 'support_net', 'rcm'}
    assert state.keys() == again.keys() and all(torch.equal(value, again[key]) for key, value in state.items())
    saved = torch.load(tmp_path / 'whole/epoch_3.pth', weights_only=True)['state_dict']
    assert all(torch.equal(value, state[key]) for key, value in saved.items()) and saved.keys() == state.keys()
    # Of SupportNet nothing is trained, and its weights are not MainNet's.
    in_groups = {id(p) for group in whole.optim_wrapper.optimizer.param_groups for p in group['params']}
    assert in_groups == {id(p) for p in whole.model.main_net.parameters()}
    assert not torch.equal(state['main_net.neck.conv.weight'], state['support_net.neck.conv.weight'])

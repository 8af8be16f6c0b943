"""A model, a data set and a Runner config that train in a second."""
import itertools
import random

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmwsss.registry import DATASETS, HOOKS, MODELS

NUMBER = itertools.count()


@DATASETS.register_module(force=True)
class ToyDataset(Dataset):
    """Noisy 8 x 8 images; the noise of a sample depends on (seed, epoch, index) alone."""

    metainfo = dict(classes=('one', 'two'), palette=[[0, 0, 0], [1, 2, 3]])

    def __init__(self, length=10, seed=0):
        self.length, self.seed = length, seed
        self.epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch):
        self.epoch.fill_(epoch)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        words = np.random.SeedSequence([self.seed, int(self.epoch), index]).generate_state(3)
        random.seed(int(words[0]))
        np.random.seed(words[1])
        torch.manual_seed(int(words[2]))
        label = index % 2
        image = torch.full((3, 8, 8), float(label)) + torch.randn(3, 8, 8) + random.random() + np.random.rand()
        return dict(inputs=image.float(), label=torch.tensor([label]))


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    def __init__(self, width=6, dropout=0.5):
        super().__init__(dict(type='ImgDataPreprocessor'))
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, 2)

    def forward(self, inputs, label=None, data_samples=None, mode='tensor'):
        x = self.conv2(self.norm(self.conv(inputs)).relu()).relu()
        self.seen = dict(inputs=inputs, features=x)
        logits = self.head(self.dropout(x.mean((2, 3))))
        if mode == 'loss':
            return dict(loss=nn.functional.cross_entropy(logits.float(), torch.cat(label)))
        return [dict(logits=row) for row in logits] if mode == 'predict' else logits


class Killed(Exception):
    pass


@HOOKS.register_module(force=True)
class KillHook(Hook):
    """Ends the process, as far as a test can, when an epoch or an iteration begins."""

    def __init__(self, epoch=None, iteration=None):
        self.epoch, self.iteration = epoch, iteration

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            raise Killed

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise Killed


def toy_runner(work_dir, **overrides) -> Runner:
    """A Runner on the toy data; ``overrides`` replace its arguments, ``kill`` adds a KillHook."""
    kill = overrides.pop('kill', None)
    workers = overrides.pop('num_workers', 0)
    checkpoint = overrides.pop('checkpoint', {})
    config = dict(
        model=dict(type='ToyModel'), work_dir=str(work_dir), default_scope='mmwsss', log_level='WARNING',
        train_dataloader=dict(dataset=dict(type='ToyDataset'), sampler=dict(type='DefaultSampler', shuffle=True),
                              batch_size=4, num_workers=workers, persistent_workers=workers > 0),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=[dict(type='MultiStepLR', milestones=[1, 2, 2], gamma=0.5)],
        default_hooks=dict(checkpoint=dict(type='SafeCheckpointHook', interval=1, **checkpoint)),
        custom_hooks=[dict(type='SeedHook')], randomness=dict(seed=7),
        visualizer=dict(type='Visualizer', vis_backends=[]))
    config.update(overrides)
    config['custom_hooks'] = [*config['custom_hooks'], *([dict(type='KillHook', **kill)] if kill else [])]
    return Runner(**config, experiment_name=f'toy{next(NUMBER)}')


def train(runner) -> Runner:
    try:
        runner.train()
    finally:
        # Persistent workers that the garbage collector finds in a cycle are waited for, five seconds each.
        runner.train_dataloader._iterator = None
    return runner


def weights(model) -> dict[str, torch.Tensor]:
    model = getattr(model, 'module', model)
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)

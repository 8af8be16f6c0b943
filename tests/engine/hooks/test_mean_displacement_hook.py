import sys
from pathlib import Path

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset
from toy_runner import toy_runner, train

from mmwsss.registry import DATASETS
from mmwsss.utils.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[2] / 'models'))
from affinity_toy import toy_irnet


@DATASETS.register_module(force=True)
class LabelMapToyDataset(Dataset):
    """Two halves of each image differ; image and label are larger in the second epoch."""

    metainfo = dict(classes=('one',))
    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return 6

    def __getitem__(self, index):
        size = 16 + 8 * self.epoch
        generator = torch.Generator().manual_seed(index)
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=(torch.arange(size) >= 8).long().expand(1, size, size))
        return dict(inputs=torch.randn(3, size, size, generator=generator), data_samples=sample)


def run(folder, model, **overrides):
    preprocessor = dict(type='WSSSDataPreProcessor', mean=[0.0] * 3, std=[2.0] * 3, size_divisor=1)
    loader = dict(dataset=dict(type='LabelMapToyDataset'), sampler=dict(type='DefaultSampler', shuffle=True),
                  batch_size=4, num_workers=0)
    return toy_runner(folder, model=model(data_preprocessor=preprocessor), train_dataloader=loader,
                      **{**dict(train_cfg=dict(by_epoch=True, max_epochs=2),
                                custom_hooks=[dict(type='SeedHook'), dict(type='MeanDisplacementHook')]), **overrides})


def test_last_checkpoint_has_the_mean_over_the_last_epochs_images(tmp_path):
    runner = train(run(tmp_path, toy_irnet))
    assert runner.model.training
    means = [torch.load(tmp_path / f'epoch_{epoch}.pth', weights_only=True)['state_dict'][
        'displacement_head.mean_displacement'] for epoch in (1, 2)]
    assert torch.equal(means[0], torch.zeros(2))
    model, dataset = runner.model.eval(), LabelMapToyDataset()
    dataset.set_epoch(1)
    with torch.no_grad():
        inputs = torch.stack([dataset[index]['inputs'] for index in range(len(dataset))]) / 2
        expected = model.displacement_head.forward_raw(model.extract_feat(inputs)).mean(dim=(0, 2, 3))
        torch.testing.assert_close(means[1], expected, rtol=1e-4, atol=1e-5)
        assert (expected.abs() > 0.01).all() and model(inputs)[1].mean(dim=(0, 2, 3)).abs().max() < 1e-4


def test_where_it_has_nothing_to_do(tmp_path):
    with pytest.raises(UserError, match='MeanDisplacementHook: works with an EpochBasedTrainLoop'):
        run(tmp_path / 'iterations', toy_irnet, train_cfg=dict(by_epoch=False, max_iters=2)).train()
    with pytest.raises(UserError, match='MeanDisplacementHook: the model has no displacements'):
        toy_runner(tmp_path / 'other', custom_hooks=[dict(type='MeanDisplacementHook')]).train()

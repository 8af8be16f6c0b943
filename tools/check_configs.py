"""Checks that every config loads and that all its parts build: the quick check of CI.

Data sets are not read: the configs are fitted to a list of three classes.
"""
import argparse
import tempfile
import warnings
from pathlib import Path

from check_metafiles import check_metafiles, method_configs
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import datasets_of, load_config
from mmwsss.experiments.pipeline.pipeline import Pipeline
from mmwsss.experiments.study.study_config import StudyConfig
from mmwsss.postprocessing import build_postprocessors
from mmwsss.registry import CAM_PROVIDERS, HOOKS, INFERENCE_HOOKS, LOOPS, METRICS, MODELS, POSTPROCESSORS, TRANSFORMS

ROOT = Path(__file__).parents[1]


def check_config(path: Path, data_root: Path) -> None:
    """Builds model, transforms and optimizer of a config, and looks up its loops, hooks and evaluators."""
    cfg = load_config(path, str(data_root))
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    for dataset in datasets_of(cfg):
        Compose([TRANSFORMS.build(step) for step in dataset.pipeline])
    Runner.build_optim_wrapper(_Holder(model), cfg.optim_wrapper)
    Compose([TRANSFORMS.build(step) for step in cfg.get('tta_pipeline') or ()])
    build_postprocessors(cfg.get('test_postprocessors') or [])
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    # A semantic encoder is not tested: it has neither loop nor evaluator.
    for registry, parts in ((LOOPS, filter(None, [cfg.train_cfg, cfg.test_cfg])), (METRICS, filter(None, evaluators)),
                            (MODELS, [cfg.tta_model] if cfg.get('tta_model') else []),
                            (HOOKS, [*cfg.default_hooks.values(), *cfg.custom_hooks])):
        for part in parts:
            if registry.get(part['type']) is None:
                raise KeyError(f'{path}: {part["type"]} is in no registry')


class _Holder:
    """What Runner.build_optim_wrapper wants of a runner."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model


def check_study(path: Path, data_root: str) -> None:
    """Reads every row and test of a study, and builds the inference hooks, which a study changes most."""
    study = StudyConfig(path, data_root)
    for row in study.rows.values():
        if row.checkpoint_of is None:
            study.train_config(row, row.seeds[0])
        for test in row.tests:
            cfg = study.test_config(row, row.seeds[0], test)
            init_default_scope(cfg.default_scope)
            for hook in cfg.model.get('inference_hooks', ()):
                INFERENCE_HOOKS.build(hook)
            if cfg.model.get('cam_provider'):
                CAM_PROVIDERS.build(cfg.model.cam_provider)


def check_postprocessing(path: Path) -> None:
    """Builds the post-processors of a config."""
    from mmengine.config import Config
    for part in Config.fromfile(path).postprocessors:
        POSTPROCESSORS.build(part)


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    warnings.filterwarnings('ignore')
    check_metafiles(ROOT)
    with tempfile.TemporaryDirectory() as data_root:
        (Path(data_root) / 'classes.txt').write_text('one\ntwo\nthree\n')
        (Path(data_root) / 'ImageSets').mkdir()
        (Path(data_root) / 'ImageSets/train.txt').write_text('')
        (Path(data_root) / 'LOC_synset_mapping.txt').write_text('n1 one\nn2 two\nn3 three\n')
        # Those of configs/backbones need packages that are extras; tests/config/test_backbone_configs.py builds them.
        configs = [path for path in method_configs(ROOT) if path.parent.name != 'backbones']
        for path in configs:
            check_config(path, Path(data_root))
        for path in sorted(ROOT.glob('configs/pipelines/*.py')):
            Pipeline(path, data_root, Path(data_root) / 'work')
        for path in sorted(ROOT.glob('configs/studies/*.py')):
            check_study(path, data_root)
        for path in sorted(ROOT.glob('configs/_base_/postprocessing/*.py')):
            check_postprocessing(path)
    print(f'{len(configs)} configs build, {len(INFERENCE_HOOKS)} inference hooks and '
          f'{len(POSTPROCESSORS)} post-processors are registered')
    return 0


if __name__ == '__main__':
    run_cli(main)

"""Registries of mmwsss.

They are children of mmsegmentation's, so that every mmseg and mmengine component can be named
without a prefix. New are: how a model makes a CAM of an image (:data:`CAM_PROVIDERS`), what happens around that
(:data:`INFERENCE_HOOKS`), what happens between a CAM and its label (:data:`POSTPROCESSORS`), and what the steps of a
pipeline are (:data:`STAGES`).

A downstream project registers a component with, for example, ::

    from mmwsss.registry import MODELS

    @MODELS.register_module()
    class MyNeck(BaseModule): ...

and names its module in the config's ``custom_imports``.

Importing this module checks the versions of the stack, and lets MMEngine resolve ``_base_ = 'mmwsss::cam/...'`` in the
configs of other projects.
"""
# ruff: noqa: E402
from mmwsss.utils.versions import check_stack

check_stack()

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

# MMEngine looks for `mmwsss::NAME` in the folder .mim of the packages that it has in this table.
MODULE2PACKAGE.setdefault('mmwsss', 'mmwsss')


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    # Registry.get looks into a parent without importing the parent's modules, so the package
    # named in `locations` imports mmseg's counterpart itself.
    return Registry(name, parent=parent, scope='mmwsss', locations=list(locations))


MODELS = _child('model', mmseg_registry.MODELS, 'mmwsss.models')
MODEL_WRAPPERS = _child('model wrapper', mmseg_registry.MODEL_WRAPPERS)
WEIGHT_INITIALIZERS = _child('weight initializer', mmseg_registry.WEIGHT_INITIALIZERS, 'mmwsss.engine')
DATASETS = _child('dataset', mmseg_registry.DATASETS, 'mmwsss.datasets')
DATA_SAMPLERS = _child('data sampler', mmseg_registry.DATA_SAMPLERS, 'mmwsss.engine')
TRANSFORMS = _child('transform', mmseg_registry.TRANSFORMS, 'mmwsss.datasets')
METRICS = _child('metric', mmseg_registry.METRICS, 'mmwsss.evaluation')
EVALUATOR = _child('evaluator', mmseg_registry.EVALUATOR, 'mmwsss.evaluation')
HOOKS = _child('hook', mmseg_registry.HOOKS, 'mmwsss.engine')
LOOPS = _child('loop', mmseg_registry.LOOPS, 'mmwsss.engine')
OPTIMIZERS = _child('optimizer', mmseg_registry.OPTIMIZERS, 'mmwsss.engine')
OPTIM_WRAPPERS = _child('optim wrapper', mmseg_registry.OPTIM_WRAPPERS, 'mmwsss.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('optimizer wrapper constructor',
                                    mmseg_registry.OPTIM_WRAPPER_CONSTRUCTORS, 'mmwsss.engine')
PARAM_SCHEDULERS = _child('parameter scheduler', mmseg_registry.PARAM_SCHEDULERS)
TASK_UTILS = _child('task util', mmseg_registry.TASK_UTILS, 'mmwsss.models')
VISUALIZERS = _child('visualizer', mmseg_registry.VISUALIZERS, 'mmwsss.visualization')
VISBACKENDS = _child('vis_backend', mmseg_registry.VISBACKENDS, 'mmwsss.visualization')

# Callables (CAM function, images, labels) -> CAM, see mmwsss.inference.InferenceHook.
INFERENCE_HOOKS = Registry('inference hook', scope='mmwsss', locations=['mmwsss.inference'])
# Callables (model, images, labels) -> CAM, in place of the model's own way, see mmwsss.inference.CAMProvider.
CAM_PROVIDERS = Registry('CAM provider', scope='mmwsss', locations=['mmwsss.inference'])
# Callables (ScoreMap, image) -> ScoreMap, see mmwsss.postprocessing.
POSTPROCESSORS = Registry('postprocessor', scope='mmwsss', locations=['mmwsss.postprocessing'])
# Steps of a pipeline, classes with run(context) -> StageResult, see mmwsss.experiments.pipeline.Stage.
STAGES = Registry('stage', scope='mmwsss', locations=['mmwsss.experiments.pipeline'])

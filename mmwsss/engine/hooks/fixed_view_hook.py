"""A training in which every image looks the same in every epoch."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwsss.registry import HOOKS
from mmwsss.utils.errors import UserError

# Transforms that change an image at random, beside those whose name says so.
RANDOM_TRANSFORMS = ('Albu', 'ColorJitter', 'CutOut', 'PCALighting', 'PhotoMetricDistortion', 'RandAugment',
                     'SplitPatch')


@HOOKS.register_module()
class FixedViewHook(Hook):
    """Refuses a training whose pipeline has a random view of the images.

    For :class:`mmwsss.models.backbones.CachedBackbone`, which would compute every view anew and fill the disk with
    them.
    """

    def before_train(self, runner: Runner) -> None:
        """Looks at the transforms of the training data.

        Raises:
            UserError: If one of them is random.
        """
        stack = [runner.train_loop.dataloader.dataset]
        while stack:
            dataset = stack.pop()
            stack += [dataset.dataset] if hasattr(dataset, 'dataset') else getattr(dataset, 'datasets', [])
            for transform in getattr(getattr(dataset, 'pipeline', None), 'transforms', ()):
                name = type(transform).__name__
                if name.startswith('Random') or name in RANDOM_TRANSFORMS:
                    raise UserError(f'train_dataloader.dataset.pipeline: {name} gives another view of an image each '
                                    'time, so its features cannot be computed once (CachedBackbone); leave it out')

"""Pictures of what the other stages have made, as a stage."""
from dataclasses import dataclass
from pathlib import Path

from mmwsss.experiments.pipeline.stage import FILES, Stage, StageContext, StageResult
from mmwsss.registry import STAGES
from mmwsss.structures.cam_file import cam_path
from mmwsss.structures.label_file import label_path
from mmwsss.utils.errors import UserError
from mmwsss.visualization import stage_figure


@STAGES.register_module('picture')
@dataclass(kw_only=True)
class Picture(Stage):
    """Draws images of a split with their CAMs, label maps and predictions; its output is the picture.

    Inputs: ``cams``, ``predictions``, and folders of label maps under names of their own, which are the titles of
    their columns.

    Args:
        split: The images.
        num_images: How many of them, evenly spread; an image that has not all files is left out.
    """
    INPUTS = dict(cams=FILES, predictions=FILES)
    ANY_INPUT = True
    READS = ('images', 'masks')
    MAIN_PROCESS_ONLY = True

    split: str
    num_images: int = 6

    def __post_init__(self) -> None:
        if not isinstance(self.num_images, int) or self.num_images < 1:
            raise UserError(f'num_images must be at least 1, got {self.num_images!r}')

    def run(self, context: StageContext) -> StageResult:
        """See :meth:`Stage.run`."""
        inputs = dict(context.inputs)
        cams, predictions = inputs.pop('cams', None), inputs.pop('predictions', None)
        stems = context.remaining_stems(self.split)
        count = min(self.num_images, len(stems))
        chosen = [stems[i * len(stems) // count] for i in range(count)]
        maps = [folder for folder in (predictions, *inputs.values()) if folder]
        chosen = [stem for stem in chosen if all(label_path(folder, stem).exists() for folder in maps)
                  and (cams is None or cam_path(cams, stem).exists())]
        if not chosen:
            raise UserError(f'{context.folder}: none of the images chosen for the picture has all of {[cams, *maps]}')
        out = context.folder / f'{Path(self.split).stem}.png'
        stage_figure(chosen, context.data, out, cam_dir=cams, prediction_dir=predictions,
                     label_dirs={title.replace('_', ' '): path for title, path in inputs.items()})
        return StageResult(out)

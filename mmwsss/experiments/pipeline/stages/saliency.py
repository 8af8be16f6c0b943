"""Saliency maps as a stage."""
from dataclasses import dataclass

from mmwsss.experiments.pipeline.stage import Stage, StageContext, StageResult
from mmwsss.registry import STAGES
from mmwsss.saliency.onnx_saliency import INPUT_SIZE
from mmwsss.saliency.saliency_maps import make_saliency, model_file
from mmwsss.utils.fileio import sha256_of_file
from mmwsss.utils.parallel import check_num_workers


@STAGES.register_module('make_saliency')
@dataclass(kw_only=True)
class MakeSaliency(Stage):
    """Makes saliency maps, see :func:`mmwsss.saliency.saliency_maps.make_saliency`.

    Args:
        split: The images.
        model: The network, an ONNX file.
        size: Height and width that it takes.
        num_workers: Processes that read images.
    """
    MAIN_PROCESS_ONLY = True

    split: str
    model: str
    size: int = INPUT_SIZE
    num_workers: int | None = None

    def __post_init__(self) -> None:
        check_num_workers(self.num_workers)

    def check(self, context: StageContext) -> None:
        """See :meth:`Stage.check`."""
        super().check(context)
        model_file(self.model)

    def key(self, context: StageContext) -> dict:
        """See :meth:`Stage.key`."""
        return dict(super().key(context), model=sha256_of_file(model_file(self.model)))

    def run(self, context: StageContext) -> StageResult:
        """See :meth:`Stage.run`."""
        summary = make_saliency(self.model, context.data, context.remaining(self.split), context.folder / 'saliency',
                                size=self.size, num_workers=self.num_workers)
        return StageResult('saliency', skipped=[tuple(file) for file in summary['skipped']])

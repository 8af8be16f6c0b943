"""A stage of a pipeline."""
from dataclasses import dataclass

from mmwsss.experiments.pipeline import FILES, Stage, StageContext, StageResult
from mmwsss.registry import STAGES
from mmwsss.structures import cam_path, read_cam
from mmwsss.utils.fileio import write_json


@STAGES.register_module('cam_area')
@dataclass(kw_only=True)
class CAMArea(Stage):
    """Measures how much of the images CAMs cover: a first look where there are no masks.

    Args:
        split: The images.
        threshold: From which value on a position counts as covered.
    """
    INPUTS = dict(cams=FILES)
    REQUIRED = ('cams',)
    EVALUATES = True  # its role in comparisons is that of what it reads
    MAIN_PROCESS_ONLY = True

    split: str
    threshold: float = 0.2

    def run(self, context: StageContext) -> StageResult:
        """Writes ``area.json``, the mean covered share of every class, and reports the mean over them."""
        shares: dict[str, list[float]] = {name: [] for name in context.classes}
        for stem in context.remaining_stems(self.split):
            cam_file = read_cam(cam_path(context.inputs['cams'], stem))
            for index, cam in zip(cam_file.classes, cam_file.cam):
                shares[context.classes[index]].append(float((cam >= self.threshold).mean()))
        means = {name: sum(values) / len(values) for name, values in shares.items() if values}
        write_json(context.folder / 'area.json', means)
        row = dict(metric='covered area', value=100 * sum(means.values()) / len(means), unit='%', note=self.split)
        return StageResult('area.json', [row])

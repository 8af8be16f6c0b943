"""Predictions in the form in which VOC's evaluation server takes them, as a stage."""
import shutil
import tarfile
from dataclasses import dataclass

from mmwsss.experiments.pipeline.stage import FILES, Stage, StageContext, StageResult
from mmwsss.registry import STAGES
from mmwsss.structures.image_file import image_size
from mmwsss.structures.label_file import IGNORE, label_path, read_label
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import atomic_path

# Below results.tar.gz, as the development kit of VOC 2012 says; comp6: trained on other data than VOC's masks.
SERVER_DIR = 'results/VOC2012/Segmentation/{competition}_{split}_cls'


@STAGES.register_module('voc_server')
@dataclass(kw_only=True)
class VOCServer(Stage):
    """Packs predictions for VOC's evaluation server; its output is ``results.tar.gz``. Input: ``predictions``.

    The archive has ``results/VOC2012/Segmentation/comp6_test_cls/<stem>.png``, one palette PNG for every image of the
    split: VOC's test has no masks here, and is evaluated there.

    Args:
        split: The images; every one must have its prediction.
        competition: ``'comp6'`` (any training data), or ``'comp5'`` (VOC's own only).
        server_split: What the split is called there.
    """
    INPUTS = dict(predictions=FILES)
    REQUIRED = ('predictions',)
    MAIN_PROCESS_ONLY = True

    split: str
    competition: str = 'comp6'
    server_split: str = 'test'

    def __post_init__(self) -> None:
        if self.competition not in ('comp5', 'comp6'):
            raise UserError(f"competition must be 'comp5' or 'comp6', not {self.competition!r}")

    def run(self, context: StageContext) -> StageResult:
        """See :meth:`Stage.run`."""
        name = SERVER_DIR.format(competition=self.competition, split=self.server_split)
        folder, images = context.folder / name, context.data.image_paths()
        shutil.rmtree(context.folder / 'results', ignore_errors=True)
        folder.mkdir(parents=True)
        for stem in context.data.stems(self.split):
            path = label_path(context.inputs['predictions'], stem)
            if not path.is_file():
                raise UserError(f'{path}: no such prediction; the server wants one for every image of {self.split}')
            label = read_label(path)
            if stem in images and label.shape != image_size(images[stem]):
                raise UserError(f'{path}: is {label.shape[0]} x {label.shape[1]}, but its image is not; make it again')
            if label.max() > len(context.classes):
                what = 'pixels to be ignored' if label.max() == IGNORE else f'the label {label.max()}'
                raise UserError(f'{path}: has {what}, but the server knows 0 to {len(context.classes)} only')
            shutil.copyfile(path, label_path(folder, stem))
        archive = context.folder / 'results.tar.gz'
        with atomic_path(archive) as temporary, tarfile.open(temporary, 'w:gz') as file:
            file.add(context.folder / 'results', 'results')
        return StageResult(archive)

"""What a report shows of a work folder: where its files are, and its curves."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.work_dir import StageState, WorkDir, WorkDirContent
from mmwsss.postprocessing.defaults import DEFAULT_BACKGROUND
from mmwsss.structures.settings_folder import MANIFEST_NAME
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_json
from mmwsss.visualization.training_curves import read_scalars

CAM_KINDS, LABEL_KIND, TEST_KIND = ('make_cam', 'refine_cam'), 'pseudo_label', 'test'
# The last ones: of labels before and after a CRF, both.
NUM_LABELS = 2


@dataclass(frozen=True)
class ReportFolder:
    """A work folder in a report.

    Attributes:
        name: What it is called.
        content: What it holds.
        cam: The last stage that has made or refined CAMs, if there is one.
        labels: The last stages that have made pseudo labels.
        test: The last stage that has tested a segmentor, if there is one.
    """
    name: str
    content: WorkDirContent
    cam: StageState | None
    labels: tuple[StageState, ...]
    test: StageState | None

    @classmethod
    def read(cls, name: str, path: str | Path) -> 'ReportFolder':
        """Reads a work folder; stages that are not complete are left out.

        Raises:
            UserError: If it is none, or damaged.
        """
        content = WorkDir(path).read()
        done = [stage for stage in content.stages.values() if stage.complete and stage.output.exists()]
        cams = [stage for stage in done if stage.kind in CAM_KINDS]
        tests = [stage for stage in done if stage.kind == TEST_KIND and stage.output.is_dir()]
        labels = [stage for stage in done if stage.kind == LABEL_KIND]
        return cls(name, content, cams[-1] if cams else None, tuple(labels[-NUM_LABELS:]), tests[-1] if tests else None)

    def data(self) -> DataFolder | None:
        """Returns the data set of the pipeline; ``None`` if that is not known, or gone."""
        data = self.content.data
        if not data or not Path(data['root']).is_dir():
            return None
        values = data.get('mask_values')
        return DataFolder.find(data['root'], data['layout'], img_dir=data['img_dir'], mask_dir=data['mask_dir'],
                               classes=data['classes'],
                               mask_values=values and {_value(value): number for value, number in values})

    def threshold(self) -> float:
        """Returns the constant background that the last pseudo labels were made with; else the default."""
        for stage in reversed(self.labels):
            background = (_json(stage.output / MANIFEST_NAME) or {}).get('background', {})
            if background.get('type') == 'constant':  # another's threshold is not one of the CAMs
                return background['threshold']
        return DEFAULT_BACKGROUND['threshold']

    def threshold_curves(self) -> dict[str, list[tuple[float, float | None]]]:
        """Returns {stage: points (threshold, mIoU in percent)}."""
        return {stage.folder.name: [(point['threshold'], None if point['mIoU'] is None else 100 * point['mIoU'])
                                    for point in stage.report['curve']]
                for stage in self.content.stages.values() if stage.report.get('curve')}

    def loss_curves(self) -> dict[str, list[tuple[float, float]]]:
        """Returns {stage: points (iteration, loss)} of the trainings, all their runs together."""
        curves = {}
        for name, stage in self.content.stages.items():
            logged = any(stage.folder.glob('*/vis_data/scalars.json'))
            if points := logged and read_scalars(stage.folder).get('loss'):
                curves[name] = points
        return curves


def same_data(folders: Sequence[ReportFolder], data: DataFolder | None) -> DataFolder:
    """Returns the data set of all folders.

    Args:
        folders: The work folders.
        data: The data set, where the folders do not know it, as those of earlier versions.

    Raises:
        UserError: If it is not known, or the folders have different ones.
    """
    if data is not None:
        return data
    found = {folder.name: folder.data() for folder in folders}
    for name, one in found.items():
        if one is None:
            raise UserError(f'{name}: where its data set is, is not known or no longer true; name it with --data-root')
    first, *others = found.values()
    for name, other in zip(list(found)[1:], others):
        if other.root.resolve() != first.root.resolve() or other.classes != first.classes:
            raise UserError(f'{name}: is of other data ({other.root}) than {next(iter(found))} ({first.root}); write '
                            'a report for each')
    return first


def describe_data(data: DataFolder) -> dict[str, Any]:
    """Returns what ``stages.json`` says of a data set, see :meth:`ReportFolder.data`."""
    values = data.mask_values
    return dict(root=str(data.root.resolve()), layout=data.layout, img_dir=data.img_dir, mask_dir=data.mask_dir,
                classes=list(data.classes),
                mask_values=values and [[list(value) if isinstance(value, tuple) else value, number]
                                        for value, number in values.items()])


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = read_json(path)
    except ValueError as error:
        raise UserError(f'{path}: damaged ({error})') from error
    return found if isinstance(found, Mapping) else None


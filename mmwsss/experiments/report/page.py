"""Writing the page of a report: one file, without anything from elsewhere."""
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.comparison.compare_dirs import parse_sources, shortest_names
from mmwsss.experiments.report.figures import HEIGHT, WIDTH, Chart, line_chart
from mmwsss.experiments.report.gallery import Gallery, make_gallery
from mmwsss.experiments.report.sources import ReportFolder, same_data
from mmwsss.experiments.results_table import value_text
from mmwsss.experiments.table_text import duration_text
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_bytes
from mmwsss.visualization.draw import display_palette

TEMPLATE = Path(__file__).parent / 'template'
REPORT_PAGE = 'report.html'
NUM_IMAGES = 200
# What stands in a page is a user's, such as the names of files: all of it is escaped.
_ENVIRONMENT = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined,
                           trim_blocks=True, lstrip_blocks=True)


def write_report(work_dirs: Sequence[str | Path], out: str | Path | None = None, data: DataFolder | None = None,
                 num_images: int = NUM_IMAGES) -> Path:
    """Writes a page on work folders of pipelines.

    Args:
        work_dirs: ``[NAME=]WORK_DIR``, as :func:`mmwsss.experiments.comparison.compare_dirs.parse_sources` takes them;
            several folders of one name are seeds, of which each is shown.
        out: The page; ``None``: ``report.html`` in the first folder.
        data: Their data set, where they do not know it.
        num_images: At most so many images in the gallery.

    Returns:
        The page.

    Raises:
        UserError: If a folder is no work folder, if they have different data, or a file is damaged.
    """
    if not isinstance(num_images, int) or num_images < 1:
        raise UserError(f'--num-images: must be at least 1, not {num_images!r}')
    sources = parse_sources(map(str, work_dirs))
    folders = [ReportFolder.read(name if len(paths) == 1 else f'{name} ({short})', path)
               for name, paths in sources.items() for path, short in zip(paths, shortest_names(paths))]
    data = same_data(folders, data)
    path = Path(out) if out is not None else folders[0].content.path / REPORT_PAGE
    if path.suffix.lower() not in ('.html', '.htm'):
        raise UserError(f'--out {path}: the name must end in .html')
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, report_html(folders, data, make_gallery(folders, data, num_images)).encode())
    return path


def report_html(folders: Sequence[ReportFolder], data: DataFolder, gallery: Gallery) -> str:
    """Returns the page."""
    payload = dict(
        classes=list(data.classes), palette=display_palette(len(data.classes) + 1), items=gallery.items,
        folders=[dict(name=folder.name, threshold=folder.threshold(),
                      maps=[stage.folder.name for stage in folder.labels]
                      + ([folder.test.folder.name] if folder.test else [])) for folder in folders])
    return _ENVIRONMENT.get_template('page.html').render(
        title=', '.join(folder.name for folder in folders), root=data.root,
        folders=[_rows(folder) for folder in folders],
        charts=_charts(folders), bars=_bars(folders), by_count=gallery.by_count, gallery=gallery, width=WIDTH,
        height=HEIGHT, css=Markup((TEMPLATE / 'page.css').read_text()), js=Markup((TEMPLATE / 'page.js').read_text()),
        # No end tag within a script, whatever a file is called.
        payload=Markup(json.dumps(payload, separators=(',', ':')).replace('<', '\\u003c')))


def _rows(folder: ReportFolder) -> dict[str, Any]:
    rows = []
    for name, stage in folder.content.stages.items():
        metrics = stage.metrics or [dict(metric='', value=None)]
        for number, row in enumerate(metrics):
            rows.append(dict(
                stage='' if number else name, kind='' if number else stage.kind or '', metric=row['metric'],
                value=value_text(row), note=row.get('note') or '',
                time='' if number or stage.seconds is None else duration_text(stage.seconds),
                state='' if stage.complete else 'not complete',
                left_out=0 if number else len(stage.skipped)))
    return dict(name=folder.name, path=folder.content.path, rows=rows)


def _charts(folders: Sequence[ReportFolder]) -> list[Chart]:
    def series(curves: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {stage if len(folders) == 1 else f'{folder.name}: {stage}': points
                for folder, found in zip(folders, curves) for stage, points in found.items()}

    thresholds = line_chart('mIoU (%) of the CAMs over the background threshold', 'background threshold',
                            series([folder.threshold_curves() for folder in folders]))
    losses: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for stage, points in folder.loss_curves().items():
            losses.setdefault(stage, {})[folder.name] = points
    charts = [thresholds, *(line_chart(f'Loss of {stage}', 'iteration', found) for stage, found in losses.items())]
    return [chart for chart in charts if chart is not None]


def _bars(folders: Sequence[ReportFolder]) -> dict[str, Any] | None:
    """IoU of every class, in percent, of the last CAMs, the last labels and the last segmentor that were evaluated."""
    columns = {}
    for folder in folders:
        last = {}
        for name, stage in folder.content.stages.items():
            if stage.per_class:
                last[stage.kind] = name, stage.per_class
        for name, found in last.values():
            columns[name if len(folders) == 1 else f'{folder.name}: {name}'] = found
    classes = list(dict.fromkeys(name for found in columns.values() for name in found))
    if not classes:
        return None
    return dict(columns=list(columns), rows=[(name, [None if found.get(name) is None else 100 * found[name]
                                                     for found in columns.values()]) for name in classes])

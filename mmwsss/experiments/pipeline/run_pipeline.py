"""Running a pipeline, from the arguments of the command line to its exit code."""
import sys
from collections.abc import Mapping
from pathlib import Path

from mmengine.dist import is_main_process

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.engine.logged_runner import WARNINGS, console_shows
from mmwsss.experiments.pipeline.pipeline import Pipeline
from mmwsss.experiments.report.page import write_report
from mmwsss.experiments.results_table import results_table
from mmwsss.experiments.work_dir import LOG, REPORT_TEXT
from mmwsss.utils.console import make_console
from mmwsss.utils.errors import EXIT_SKIPPED


def run_pipeline(config: str | Path, data: str | Path | DataFolder, work_dir: str | Path,
                 weights: str | Path | Mapping[str, str | Path] | None = None, cfg_options: dict | None = None,
                 launcher: str = 'none', auto_scale_lr: bool = False) -> int:
    """Runs a pipeline, see :class:`Pipeline` for the arguments, and prints its table, which is written before.

    Returns:
        The exit code: done, or done without files that were left out.

    Raises:
        UserError: From the stage that failed, or if another run is at work in the work folder.
    """
    pipeline = Pipeline(config, data, work_dir, weights, cfg_options, launcher, auto_scale_lr)
    log = Path(work_dir) / LOG
    with pipeline.work.lock.held():  # the page too is of one run
        if is_main_process():
            print(f'log: {log}', file=sys.stderr)
        with console_shows(WARNINGS, log):
            code = pipeline.run()
        if is_main_process():
            make_console().print(results_table(pipeline.rows, title=pipeline.title))
            print(f'report: {write_report([work_dir])} (table: {Path(work_dir) / REPORT_TEXT})')
            for name, result in pipeline.results.items():
                if str(result.output).endswith('.png'):
                    print(f'picture: {result.output} ({name})')
            if code == EXIT_SKIPPED:
                print('done, but files were left out: see the warnings above; complete.json of each stage lists them')
    return code

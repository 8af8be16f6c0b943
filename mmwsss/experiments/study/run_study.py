"""Running a study, from the arguments of the command line to its exit code."""
import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.dist import is_main_process

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.engine.logged_runner import WARNINGS, console_shows
from mmwsss.experiments.study.study import Study
from mmwsss.experiments.study.study_dir import LOG, RESULTS_TEXT
from mmwsss.utils.errors import EXIT_DONE, EXIT_SKIPPED, UserError


def run_study(config: str | Path, data: str | Path | DataFolder, work_dir: str | Path,
              weights: str | Path | Mapping[str, str | Path] | None = None, cfg_options: dict | None = None,
              launcher: str = 'none', rows: Sequence[str] | None = None, seeds: Sequence[int] | None = None,
              report_only: bool = False, auto_scale_lr: bool = False) -> int:
    """Runs a study and prints its table, which is written before.

    Args:
        config: See :class:`Study`, as for the next arguments.
        data: The data set.
        work_dir: Folder of the study.
        weights: Files of pretrained weights.
        cfg_options: Settings over the study config.
        launcher: How the processes were started.
        rows: Only these rows, see :meth:`Study.run`.
        seeds: Only these of the rows' seeds.
        report_only: Only write and print the table of what is there.
        auto_scale_lr: See :class:`Study`.

    Returns:
        The exit code: done, or done without files that were left out.

    Raises:
        UserError: From the row that failed; also if there is nothing to report, or if another run is at work in the
            work folder.
    """
    study = Study(config, data, work_dir, weights, cfg_options, launcher, auto_scale_lr)
    if report_only and not Path(work_dir).is_dir():
        raise UserError(f'--work-dir {work_dir}: no such folder, so there is nothing to report')
    log = Path(work_dir) / LOG
    # What is there can be looked at while another run is at work.
    with contextlib.nullcontext() if report_only else study.work.lock.held():
        if is_main_process() and not report_only:
            print(f'log: {log}', file=sys.stderr)
        with console_shows(WARNINGS, None if report_only else log):
            code = EXIT_DONE if report_only else study.run(rows, seeds)
        text = study.write_results()
    if is_main_process():
        print(text)
        print(f'results: {Path(work_dir) / RESULTS_TEXT}')
        if code == EXIT_SKIPPED:
            print('done, but files were left out: see the warnings above; the json of each test lists them')
    return code

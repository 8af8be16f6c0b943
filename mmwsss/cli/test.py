"""``mmwsss test``."""
import argparse
from pathlib import Path

from mmwsss.cli.arguments import add_config, add_config_arguments, add_num_workers
from mmwsss.cli.data import add_split

DESCRIPTION = ('Test a checkpoint with the evaluators of its config; a segmentor also at several scales and flipped '
               "(--tta), and followed by the config's post-processors (--crf)")
# Where --cfg-options may name the folder of the masks.
MASK_FOLDERS = {'test_dataloader.dataset.seg_dir', 'test_dataloader.dataset.mask_dir'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_config(parser)
    parser.add_argument('checkpoint', metavar='CHECKPOINT')
    parser.add_argument('--work-dir', metavar='DIR', help='logs; default work_dirs/<config name>')
    add_split(parser, "the config's")
    parser.add_argument('--out', metavar='FILE', help='json file for the metrics')
    parser.add_argument('--tta', action='store_true',
                        help="average over the scales and flips of the config's tta_pipeline (segmentors)")
    parser.add_argument('--crf', action='store_true',
                        help="post-process the predictions as the config's test_postprocessors say (segmentors)")
    parser.add_argument('--out-dir', metavar='DIR', help='folder for the label maps that --crf makes')
    parser.add_argument('--show-dir', metavar='DIR',
                        help='draw every prediction into this folder: CAMs, or ground truth and mask')
    add_num_workers(parser, 'processes that --crf uses')
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmengine.dist import is_main_process

    from mmwsss.apis.runner import check_settings, test
    from mmwsss.cli.data import check_named_masks, data_folder
    from mmwsss.cli.report_result import report_result
    from mmwsss.config.config import load_config
    from mmwsss.config.seg_options import prepare_test, show_predictions
    from mmwsss.datasets.data_folder import DataFolder
    from mmwsss.utils.console import make_console
    from mmwsss.utils.errors import EXIT_DONE, UserError
    from mmwsss.utils.fileio import check_output_file, write_json
    data = data_folder(args)
    check_named_masks(args, data)
    if args.out is not None:
        check_output_file(args.out)
    cfg = load_config(args.config, data, args.cfg_options)
    if not args.crf and (args.out_dir or args.num_workers is not None):
        raise UserError('--out-dir and --num-workers are of --crf; add it')
    check_settings(cfg, 'test_dataloader', 'test_cfg', 'test_evaluator')
    if not Path(args.checkpoint).is_file():
        raise UserError(f'{args.checkpoint}: no such checkpoint')
    evaluated = prepare_test(cfg, args.split, tta=args.tta, postprocessors=None if args.crf else (),
                          out_dir=args.out_dir, num_workers=args.num_workers)
    if not evaluated:
        dataset = cfg.test_dataloader.dataset
        masks = DataFolder.of_dataset(dataset).masks_path
        if not masks.is_dir() and (named := MASK_FOLDERS.intersection(args.cfg_options or ())):
            raise UserError(f'{masks}: no such folder; correct --cfg-options {named.pop()}')
        print(f'{masks}: no masks of split {dataset.split}, so the evaluation is skipped')
        if not args.out_dir and not args.show_dir:
            if args.out is not None and is_main_process():
                Path(args.out).unlink(missing_ok=True)  # of another test
            return EXIT_DONE
    if args.show_dir:
        show_predictions(cfg, args.show_dir)
    work_dir = args.work_dir or cfg.get('work_dir') or Path('work_dirs') / Path(args.config).stem
    result = test(cfg, args.checkpoint, work_dir, args.launcher)
    # Not before: until there is a result, that of an earlier test stays.
    if args.out is not None and is_main_process():
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        write_json(args.out, result.metrics)
    if is_main_process():
        for table in result.tables:
            make_console().print(table)
    figures = [f'{name} {value:.2f}' for name, value in result.metrics.items()
               if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return report_result(f'{args.checkpoint}: {", ".join(figures) or "nothing was evaluated"}', result.skipped)

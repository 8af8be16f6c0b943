"""``mmwsss eval``."""
import argparse
from pathlib import Path

from mmwsss.cli.arguments import add_num_workers
from mmwsss.cli.data import add_data_arguments, add_split

DESCRIPTION = ('Evaluate a folder of CAM files at every background threshold, or a folder of label PNGs, on the ground '
               'truth masks of the data set. Without masks nothing is done.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('cam_dir', metavar='CAM_DIR', help='folder of <stem>.npz CAM files or <stem>.png labels')
    add_split(parser)
    parser.add_argument('--out', metavar='FILE', help='json file for the report; its values are fractions')
    parser.add_argument('--plot', metavar='FILE', help='picture of the curve over the threshold (.png, .pdf or '
                        '.svg): mIoU, m_FN (mean of FN / TP over the classes: too small) and m_FP (FP / TP: too large)')
    parser.add_argument('--details', action='store_true', help='also: shares of wrong-class, missed and '
                        'false-foreground pixels, and results by the number of classes in an image')
    parser.add_argument('--crf', choices=['label', 'softmax'], help='also evaluate CAMs with a dense CRF at the best '
                        "threshold: on labels with IRNet's parameters, or on scores with AffinityNet's")
    parser.add_argument('--per-image', metavar='FILE', help='csv file for mIoU, precision, recall and the shares of '
                        'every image (with --crf: those after it in a second file, <stem>_refined)')
    add_num_workers(parser)
    parser.add_argument('--missing', choices=['error', 'skip'], default='error',
                        help='what to do about a readable image without CAM or label (default: %(default)s)')
    add_data_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.apis import evaluate
    from mmwsss.apis.evaluation_details import add_details
    from mmwsss.cli.data import check_named_masks, data_folder
    from mmwsss.cli.report_result import report_result
    from mmwsss.datasets.layout import describe_split
    from mmwsss.evaluation.breakdown import breakdown_table
    from mmwsss.evaluation.evaluation_report import report_table
    from mmwsss.postprocessing import CRF_PRESETS
    from mmwsss.utils.console import make_console
    from mmwsss.utils.errors import EXIT_DONE, UserError
    from mmwsss.utils.fileio import check_output_file, write_json
    from mmwsss.visualization.curve import plot_curve
    from mmwsss.visualization.plot import check_plot
    data = data_folder(args)
    check_named_masks(args, data)
    if not Path(args.cam_dir).is_dir():
        raise UserError(f'{args.cam_dir}: no such folder; name one of CAM files (mmwsss cam) or label maps')
    outputs = [file for file in (args.out, args.plot, args.per_image) if file is not None]
    for file in outputs:
        check_output_file(file)
    if args.plot is not None:
        check_plot(args.plot)
    if not data.has_masks(args.split):
        for file in outputs:
            Path(file).unlink(missing_ok=True)  # of another evaluation
        print(f'{data.masks_path}: no ground truth masks of {describe_split(args.split)}, so the '
              'evaluation is skipped')
        return EXIT_DONE
    report = evaluate(args.cam_dir, data, args.split, num_workers=args.num_workers, missing=args.missing)
    if args.details or args.crf or args.per_image:
        postprocessors = [dict(type='DenseCRF', **CRF_PRESETS[args.crf])] if args.crf else []
        report = add_details(report, args.cam_dir, data, args.split, postprocessors, args.per_image, args.num_workers)
    title = f'{args.cam_dir} on {args.split or "all images"}'
    # Written before anything is printed: what was computed is not lost with a terminal.
    if args.out is not None:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        write_json(args.out, report)
    if args.plot is not None:
        plot_curve(report, args.plot, title)
    console = make_console()
    console.print(report_table(report, title))
    for name, remark in (('details', ''), ('refined', ', with CRF')):
        if name in report and (args.details or name == 'refined'):
            console.print(breakdown_table(report[name], f'{title}{remark}'))
    threshold = report['threshold']
    at = '' if threshold is None else f' at the oracle threshold {threshold:g}'
    return report_result(f'mIoU {100 * report["mIoU"]:.2f} %{at}, {report["num_images"]} images',
                         report['skipped'])

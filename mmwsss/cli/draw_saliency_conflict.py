"""``mmwsss draw saliency-conflict``."""
import argparse
from pathlib import Path

from mmwsss.cli.data import add_data_arguments, add_split

DESCRIPTION = ('Compute the conflict temperature tau of every image of a split: how well its label and its saliency '
               'map agree on the background (mean IoU; 1: fully). Write its histogram (tau.png, tau.json), and a '
               'picture (conflict.png) of some images from the lowest tau to the highest: image, label, saliency, and '
               'where a background pixel is salient, or a pixel of an object is not (Fig. 7 of InferCam).')
MAX_IMAGES = 200
HEIGHTS = (32, 1024)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('label_dir', metavar='LABEL_DIR', help='folder of <stem>.png labels')
    add_split(parser)
    parser.add_argument('--out-dir', metavar='DIR', required=True, help='folder for the pictures and tau.json')
    parser.add_argument('--num-images', type=int, default=8, metavar='N',
                        help='how many images are drawn (default: %(default)s)')
    parser.add_argument('--height', type=int, default=160, metavar='PIXELS',
                        help='height of a row in pixels (default: %(default)s)')
    add_data_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import numpy as np
    from mmengine.logging import MMLogger

    from mmwsss.cli.data import data_folder
    from mmwsss.cli.report_result import report_result
    from mmwsss.datasets.data_folder import DataFolder
    from mmwsss.datasets.layout import describe_split
    from mmwsss.datasets.transforms import read_saliency
    from mmwsss.registry import DATASETS
    from mmwsss.structures.image_file import read_image
    from mmwsss.structures.label_file import IGNORE, read_label
    from mmwsss.utils.errors import UserError
    from mmwsss.utils.fileio import write_json
    from mmwsss.utils.parallel import progress_bar
    from mmwsss.visualization import (
        LabelledImage,
        conflict_temperature,
        draw_saliency_conflict,
        histogram,
        plot_histogram,
        save_png,
    )
    if not 1 <= args.num_images <= MAX_IMAGES:
        raise UserError(f'--num-images {args.num_images}: must be 1 to {MAX_IMAGES}')
    if not HEIGHTS[0] <= args.height <= HEIGHTS[1]:
        raise UserError(f'--height {args.height}: must be {HEIGHTS[0]} to {HEIGHTS[1]} pixels')
    data = data_folder(args)
    MMLogger.get_current_instance().setLevel('ERROR')  # what is left out is said once, at the end
    data.check_output_dir(args.out_dir)
    data = DataFolder.find(data, mask_dir=Path(args.label_dir).absolute())
    data.check_output_dir(args.out_dir)  # nor among the labels, which its pictures would be taken for
    dataset = DATASETS.build(data.dataset_config(dict(
        type='VOCSegDataset', split=args.split, missing_mask='skip', require_saliency=True)))
    samples, temperatures, skipped = [], [], list(dataset.skipped)
    with progress_bar() as progress:
        for i in progress.track(range(len(dataset)), description='conflict temperatures'):
            sample = dataset.get_data_info(i)
            label = read_label(sample['seg_map_path'])
            if (label == IGNORE).all():
                skipped.append((sample['seg_map_path'], f'every pixel is {IGNORE} (ignore), so it has no tau'))
                continue
            samples.append(sample)
            temperatures.append(conflict_temperature(label, read_saliency(sample['saliency_path'])))
    if not samples:
        raise UserError(f'{args.label_dir}: every pixel of the labels is {IGNORE} (ignore), so there is no tau')

    # Evenly from the lowest to the highest, both included.
    places = np.linspace(0, len(samples) - 1, min(args.num_images, len(samples))).round().astype(int)
    drawn = [samples[i] for i in np.argsort(temperatures, kind='stable')[places]]
    out_dir = Path(args.out_dir)
    save_png(out_dir / 'conflict.png', draw_saliency_conflict(
        [LabelledImage(sample['stem'], read_image(sample['img_path']), read_label(sample['seg_map_path']),
                       read_saliency(sample['saliency_path'])) for sample in drawn],
        dataset.metainfo['classes'][1:], args.height))
    report = histogram(temperatures)
    plot_histogram(report, out_dir / 'tau.png', f'{Path(args.label_dir).absolute().name}, {describe_split(args.split)}')
    write_json(out_dir / 'tau.json', report)
    return report_result(f'{out_dir}: tau {report["mean"]:.3f} on average of {report["num_images"]} images, '
                         f'{len(drawn)} of them drawn', skipped)

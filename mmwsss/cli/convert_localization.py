"""``mmwsss convert localization``."""
import argparse

DESCRIPTION = ('Write images of one class with boxes (and masks) as a data set for weakly supervised object '
               'localization; once for each split into one folder')
NEEDS_SETUP = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    kinds = parser.add_subparsers(dest='kind', metavar='KIND', required=True)
    masks = kinds.add_parser('masks', help='images in VOC layout whose mask shows one class; boxes of its components')
    masks.add_argument('data_root', metavar='DATA', help='the data set, in VOC layout with masks')
    masks.add_argument('--min-share', type=float, default=0.05, metavar='SHARE',
                       help='components below this share of the largest get no box; default 0.05')
    cub = kinds.add_parser('cub', help='CUB-200-2011')
    cub.add_argument('data_root', metavar='CUB', help='the folder CUB_200_2011')
    coco = kinds.add_parser('coco', help='images of COCO that show one category')
    coco.add_argument('images_dir', metavar='IMAGES_DIR', help='folder of the images')
    coco.add_argument('instances_json', metavar='INSTANCES_JSON',
                      help='the annotations, e.g. instances_train2017.json')
    coco.add_argument('--masks', action='store_true', help='also write masks')
    coco.add_argument('--min-area', type=float, default=0., metavar='SHARE',
                      help='leave out images with an object below this share of their area')
    metadata = kinds.add_parser('metadata', help='metadata of clovaai/wsolevaluation')
    metadata.add_argument('images_dir', metavar='IMAGES_DIR', help='folder of the images')
    metadata.add_argument('metadata_dir', metavar='METADATA_DIR', help='such as metadata/OpenImages/val')
    metadata.add_argument('--masks-dir', metavar='DIR', help='folder of the masks that localization.txt names')
    for kind in (masks, cub, coco, metadata):
        kind.add_argument('--out-dir', metavar='DIR', required=True, help='folder of the localization set')
        kind.add_argument('--split', metavar='NAME', required=True,
                          help='the split (COCO, metadata: its name in the set)')
        kind.add_argument('--copy', action='store_true', help='copy the images instead of linking to them')
        kind.add_argument('--held-out', type=float, metavar='SHARE',
                          help='take this share of every class out, as the split held_out to choose thresholds on')
    for kind in (masks, cub):
        kind.add_argument('--name', help='what the split is called in the set; default the same')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.report_result import report_result
    from mmwsss.datasets.localization_set import check_hold_out, hold_out
    if args.held_out is not None:
        check_hold_out(args.out_dir, getattr(args, 'name', None) or args.split, args.held_out)
    summary = _convert(args)
    message = (f'{args.out_dir}: {summary["num_images"]} images in the split {summary["split"]}, '
               f'{summary["num_boxes"]} boxes, {summary["num_masks"]} masks, {summary["num_classes"]} classes')
    if summary.get('num_other'):
        message += f'; {summary["num_other"]} images are not of a single class (or not usable) and are not in it'
    if args.held_out is not None:
        counts = hold_out(args.out_dir, summary['split'], args.held_out)
        message += '; ' + ', '.join(f'{name}: {count}' for name, count in counts.items())
    return report_result(message, summary['skipped'])


def _convert(args: argparse.Namespace) -> dict:
    from mmwsss.datasets.localization_set import coco_to_localization, cub_to_localization, masks_to_localization
    from mmwsss.datasets.wsol_metadata import metadata_to_localization
    common = dict(out_dir=args.out_dir, split=args.split, copy=args.copy)
    if args.kind == 'masks':
        return masks_to_localization(args.data_root, name=args.name, min_share=args.min_share, **common)
    if args.kind == 'cub':
        return cub_to_localization(args.data_root, name=args.name, **common)
    if args.kind == 'coco':
        return coco_to_localization(args.images_dir, args.instances_json, masks=args.masks, min_area=args.min_area,
                                    **common)
    return metadata_to_localization(args.images_dir, args.metadata_dir, masks_dir=args.masks_dir, **common)

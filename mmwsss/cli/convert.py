"""``mmwsss convert``: checkpoints and data sets of other projects."""
import argparse

from mmwsss.cli.main import fill_parser, load_command

DESCRIPTION = 'Convert a checkpoint or a data set of another project'
COMMANDS = {
    'checkpoint': 'a checkpoint of an original repository',
    'part': 'a part of a model as a checkpoint of its own',
    'text-embeddings': 'class names by the text encoder of a CLIP, for TextCAMHead',
    'annotations': 'files of labelme, LabelImg or CVAT, or a folder for each class, as a data set in VOC layout',
    'voc': 'VOC 2012, with the masks of SBD, as one folder with classes.txt and the split train_aug',
    'coco': 'images and an instances_*.json as a data set in VOC layout',
    'exif': 'images anew, to be read as they are stored, whatever their EXIF orientation',
    'localization': 'masks, CUB, COCO or OpenImages as a data set of images of one class with boxes',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the conversions as sub-commands."""
    subparsers = parser.add_subparsers(metavar='WHAT', required=True)
    for name, text in COMMANDS.items():
        fill_parser(subparsers.add_parser(name, help=text), load_command(f'convert {name}'))

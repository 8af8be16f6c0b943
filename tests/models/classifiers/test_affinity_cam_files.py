"""From CAM files to label maps: data set, LoadCAM, DataLoader, preprocessor and model."""
import cv2
import numpy as np
import pytest
import torch
from affinity_toy import toy_affinity_net, toy_irnet
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from mmwsss.datasets import ImageLabelDataset
from mmwsss.structures.cam_file import CAMFile, CAMManifest, cam_path, open_cam_dir, write_cam

LABELS = {'a': [0], 'b': [], 'c': [0, 1, 2], 'd': [1, 2]}
NAMES = ('cat', 'dog', 'sheep')
SIZE = (18, 21)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp('cam files')
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    open_cam_dir(tmp_path / 'cams', CAMManifest(None, None, NAMES, dict(class_filter='label')))
    for stem, classes in LABELS.items():
        cv2.imwrite(str(tmp_path / f'images/{stem}.png'), rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        # The maps of d are stored at full size, the others at stride 4.
        grid = SIZE if stem == 'd' else (5, 6)
        cam = rng.random((len(classes), *grid)).astype(np.float16)
        write_cam(cam_path(tmp_path / 'cams', stem), CAMFile(np.array(classes, np.int64), cam, SIZE))
    (tmp_path / 'labels.csv').write_text(
        ''.join(f'{stem},{";".join(NAMES[k] for k in classes)}\n' for stem, classes in LABELS.items() if classes))
    (tmp_path / 'classes.txt').write_text('\n'.join(NAMES))
    with DefaultScope.overwrite_default_scope('mmwsss'):
        yield ImageLabelDataset(tmp_path, missing_label='none', pipeline=[
            dict(type='LoadImage'), dict(type='LoadCAM', cam_dir=str(tmp_path / 'cams'), stride=4),
            dict(type='PackWSSSInputs')])


def predict(toy, dataset, batch_size, num_workers=0):
    model = toy(data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[127.5] * 3, std=[50.] * 3, bgr_to_rgb=True))
    loader = DataLoader(dataset, batch_size, collate_fn=pseudo_collate, num_workers=num_workers)
    return [sample for batch in loader for sample in model.test_step(batch)]


@pytest.mark.parametrize('toy, num_workers', [(toy_affinity_net, 1), (toy_irnet, 0)])
@torch.no_grad()
def test_batches_of_images_with_different_numbers_of_classes(toy, num_workers, dataset):
    together, alone = predict(toy, dataset, 4, num_workers), predict(toy, dataset, 1)
    assert [sample.stem for sample in together] == list(LABELS)
    for sample, single, classes in zip(together, alone, LABELS.values()):
        assert sample.class_filter == 'label' and sample.pred_img_label.label.tolist() == classes
        assert sample.gt_cam.data.shape == sample.pred_cam.data.shape == (len(classes), 5, 6)
        assert set(sample.pred_sem_seg.data.unique().tolist()) <= {0, *(k + 1 for k in classes)}
        assert (sample.pred_sem_seg.data == single.pred_sem_seg.data).float().mean() > 0.99
        torch.testing.assert_close(sample.pred_cam.data, single.pred_cam.data, rtol=0, atol=2**-10)
    assert together[1].pred_sem_seg.data.shape == (1, *SIZE) and not together[1].pred_sem_seg.data.any()
    assert together[2].pred_sem_seg.data.any()

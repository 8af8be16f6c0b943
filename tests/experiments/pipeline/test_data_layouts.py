"""A whole pipeline on a folder of images with a label file, one image of which has no label."""
import re
import shutil

import pytest

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.comparison.compare import Comparison
from mmwsss.experiments.pipeline import Pipeline
from mmwsss.utils.errors import EXIT_DONE, EXIT_SKIPPED, UserError


def test_pipeline_on_a_folder_with_a_label_file(tiny_pipeline, csv_folder, generated_root, tmp_path):
    work = tmp_path / 'work'
    data = DataFolder.find(csv_folder, missing_label='skip')
    assert data.layout == 'folder'
    pipeline = Pipeline(tiny_pipeline, data, work)
    assert pipeline.run() == EXIT_SKIPPED
    left_out = {name: [path for path, _ in result.skipped] for name, result in pipeline.results.items()}
    assert {name for name, paths in left_out.items() if paths} == {'classifier', 'cam'}, 'said where it happens'
    assert all('train_00004' in path for paths in left_out.values() for path in paths)
    for pattern, count in (('cam/cam/*.npz', 11), ('label/labels/*.png', 11), ('eval_segmentor/predictions/*.png', 4)):
        assert len(list(work.glob(pattern))) == count
    rows = {row['stage']: row for row in pipeline.rows if row['metric']}
    assert rows['eval_label']['note'] == 'train, without 1 images left out before'
    for name in ('eval_cam', 'eval_label', 'eval_segmentor'):
        assert 0 < rows[name]['value'] < 100
    assert (work / 'picture_train/train.png').is_file() and (work / 'picture_val/val.png').is_file()
    assert Pipeline(tiny_pipeline, data, work).run() == EXIT_SKIPPED
    comparison = Comparison(dict(photos=[work]))
    assert not comparison.is_incomplete, 'a pipeline run from Python leaves a finished folder'


def test_missing_lists_of_images_can_be_followed_up(tiny_pipeline, csv_folder, tmp_path):
    shutil.rmtree(csv_folder / 'ImageSets')
    with pytest.raises(UserError, match='a pipeline needs the splits train and val; write') as caught:
        Pipeline(tiny_pipeline, csv_folder, tmp_path / 'work')
    (csv_folder / 'ImageSets').mkdir()
    for path, name in re.findall(r'(/\S+/(train|val)\.txt)', str(caught.value)):
        with open(path, 'w') as file:  # with folder and extension, or without
            file.writelines([f'images/{name}/{name}_00000.jpg\n', f'{name}_00001\n'])
    data = DataFolder.find(csv_folder)
    assert data.splits() == ['train', 'val'] and data.stems('val') == ['val_00000', 'val_00001']
    Pipeline(tiny_pipeline, csv_folder, tmp_path / 'work',
             cfg_options={'cfg_options.cam.train_dataloader.batch_size': 2,
                          'cfg_options.segmentor.train_dataloader.batch_size': 2}).check()


def test_a_missing_label_can_be_followed_up(tiny_pipeline, csv_folder, tmp_path):
    with pytest.raises(Exception, match=r'stage classifier: .*no label for train_00004.jpg') as caught:
        Pipeline(tiny_pipeline, csv_folder, tmp_path / 'work').run()
    hints = [word.strip('.,;') for word in str(caught.value).split() if word.startswith('cfg_options.')]
    assert len(hints) == 2
    options = dict(hint.split('=') for hint in hints)
    pipeline = Pipeline(tiny_pipeline, csv_folder, tmp_path / 'work', cfg_options=options)
    for stage in list(pipeline.stages)[3:]:  # up to the stage that evaluates the CAMs
        del pipeline.stages[stage]
    assert pipeline.run() == EXIT_SKIPPED != EXIT_DONE

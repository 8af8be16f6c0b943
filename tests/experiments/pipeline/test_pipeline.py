import json
import shutil

import numpy as np
import pytest
import torch

from mmwsss.apis import CAMInferencer, SegInferencer
from mmwsss.experiments.pipeline.pipeline import Pipeline
from mmwsss.experiments.work_dir import WorkDir
from mmwsss.structures.label_file import read_label
from mmwsss.utils.errors import EXIT_DONE, EXIT_SKIPPED, UserError

STAGES = ['classifier', 'cam', 'eval_cam', 'label', 'eval_label', 'segmentor', 'eval_segmentor', 'picture_train',
          'picture_val']


@pytest.fixture(scope='module')
def finished(tmp_path_factory, tiny_pipeline, generated_root):
    """A work folder of a finished pipeline."""
    work = tmp_path_factory.mktemp('finished')
    pipeline = Pipeline(tiny_pipeline, generated_root, work)
    assert pipeline.run() == EXIT_DONE
    return work


def times(work):
    return {name: (work / name / 'complete.json').stat().st_mtime_ns for name in STAGES}


def test_every_stage_leaves_its_output(finished):
    assert (finished / 'classifier/epoch_1.pth').is_file()
    assert len(list((finished / 'cam/cam').glob('*.npz'))) == 12
    assert len(list((finished / 'label/labels').glob('*.png'))) == 12
    assert len(list((finished / 'eval_segmentor/predictions').glob('*.png'))) == 4
    assert (finished / 'picture_train/train.png').is_file() and (finished / 'picture_val/val.png').is_file()
    report = json.loads((finished / 'eval_cam/metrics.json').read_text())
    assert {'mIoU', 'threshold', 'per_class', 'm_FN', 'm_FP', 'precision', 'recall', 'curve'} <= set(report)
    marker = json.loads((finished / 'eval_cam/complete.json').read_text())
    row, = marker['metrics']
    assert row['oracle'] and row['value'] == pytest.approx(100 * report['mIoU'])


def test_trained_models_are_folders_that_predict(finished, generated_root):
    """What a user takes to new photographs; nothing of the training is in it."""
    image = next((generated_root / 'JPEGImages').glob('val_*.jpg'))
    mask, = SegInferencer(finished / 'segmentor/model')(image)
    assert np.array_equal(mask.label, read_label(finished / f'eval_segmentor/predictions/{image.stem}.png'))
    cam, = CAMInferencer(finished / 'classifier/model')(image)
    assert cam.classes and set(cam.scores) == set(mask.classes)
    for stage in ('segmentor', 'classifier'):
        text = (finished / stage / 'model/config.py').read_text()
        assert str(finished) not in text and str(generated_root) not in text


def test_segmentor_was_trained_on_the_pseudo_labels(finished):
    meta = torch.load(finished / 'segmentor/epoch_1.pth', weights_only=True)['meta']
    assert str(finished / 'label/labels') in meta['cfg']
    assert meta['dataset_meta']['classes'][0] == 'background'


@pytest.mark.parametrize(('options', 'word'), [
    ({'stages': 3}, 'stages=3: is a dict'), ({'configs': 3}, 'configs=3: is a dict'),
    ({'stages.cam.inputs': 3}, 'inputs must be a dict'), ({'stages.classifier.cfg_options': 3}, 'must be a dict'),
    ({'stages.classifier.splitt': 'train'}, "stage classifier.*splitt.*closest: 'split'"),
    ({'stages.label.threshold': .2}, 'stage label.*threshold'),
    ({'stages.cam.inputs.foo': 'classifier'}, 'stage cam.*foo'), ({'stages.cam.inputs.checkpoint': 3}, 'NAME/FOLDER'),
    ({'stages.labels.split': 'val'}, "labels.*closest: 'label'"), ({'stages.label': 3}, 'dict of dicts'),
    ({'stages.label.background': dict(type='power', alpha=0)}, 'stage label.*alpha must be above 0'),
    ({'stages.label.after': 'nowhere'}, "stage label: after='nowhere'"),
    ({'stages.cam.inputs.checkpoint': None}, "stage cam: needs the input 'checkpoint'"),
    ({'stages.picture_val.num_images': 0}, 'num_images must be at least 1'),
])
def test_wrong_options_show_before_the_first_stage(tiny_pipeline, generated_root, tmp_path, options, word):
    with pytest.raises(UserError, match=word):
        Pipeline(tiny_pipeline, generated_root, tmp_path / 'work', cfg_options=options)


@pytest.mark.parametrize('name', ['complete.json', 'key.json'])
@pytest.mark.parametrize('content', ['', '{', '[1]', '{}'])
def test_stage_with_a_damaged_state_is_done_again(finished, tiny_pipeline, generated_root, tmp_path, name, content):
    work = shutil.copytree(finished, tmp_path / 'work')
    (work / 'picture_val' / name).write_text(content)
    if name == 'key.json':
        (work / 'picture_val/complete.json').unlink()
    assert Pipeline(tiny_pipeline, generated_root, work).run() == EXIT_DONE
    assert json.loads((work / 'picture_val/complete.json').read_text())['key']


def test_complete_stages_are_reused(finished, tiny_pipeline, generated_root):
    before = times(finished)
    pipeline = Pipeline(tiny_pipeline, generated_root, finished)
    assert pipeline.run() == EXIT_DONE
    assert times(finished) == before
    assert all(row['reused'] for row in pipeline.rows)


def test_other_option_redoes_the_stage_and_what_reads_it(finished, tiny_pipeline, generated_root, tmp_path):
    work = shutil.copytree(finished, tmp_path / 'work')
    before = times(work)
    options = {'stages.label.background': dict(type='constant', threshold=0.5)}
    assert Pipeline(tiny_pipeline, generated_root, work, cfg_options=options).run() == EXIT_DONE
    redone = {name for name in STAGES if times(work)[name] != before[name]}
    assert redone == {'label', 'eval_label', 'segmentor', 'eval_segmentor', 'picture_train', 'picture_val'}


def test_a_child_changes_one_stage(tiny_pipeline, generated_root, tmp_path):
    inherited = tmp_path / 'inherited.py'
    inherited.write_text(f"_base_ = '{tiny_pipeline}'\n"
                         f"configs = dict(cam='{tiny_pipeline.with_name('cam.py')}',\n"
                         f"               segmentor='{tiny_pipeline.with_name('seg.py')}')\n"
                         "stages = dict(label=dict(background=dict(type='power', alpha=3)))\n")
    pipeline = Pipeline(inherited, generated_root, tmp_path / 'work')
    label = pipeline.stages['label']
    assert label.background == dict(type='power', alpha=3) and label.num_workers == 0
    plain = Pipeline(tiny_pipeline, generated_root, tmp_path / 'work')
    assert list(pipeline.stages) == list(plain.stages) == STAGES
    assert [name for name in STAGES if pipeline.stages[name] != plain.stages[name]] == ['label']


def test_postprocessors_of_the_config_count_as_if_the_stage_named_them(tiny_pipeline, generated_root, tmp_path):
    def key(postprocessors=(), of_config=None):
        options = {'stages.eval_segmentor.postprocessors': postprocessors}
        if of_config is not None:
            options['cfg_options.segmentor.test_postprocessors'] = of_config
        pipeline = Pipeline(tiny_pipeline, generated_root, tmp_path / 'work', cfg_options=options)
        pipeline.check()
        return pipeline.keys['eval_segmentor']

    of_config = Pipeline(tiny_pipeline, generated_root, tmp_path / 'work').load_stage_config('segmentor').to_dict()[
        'test_postprocessors']
    assert key(None) == key(of_config) != key()
    changed = [dict(of_config[0], iterations=3)]
    assert key(None, changed) != key(None)
    assert key(of_config, changed) == key(None)


def test_changed_image_redoes_what_read_it(tiny_pipeline, generated_copy, tmp_path):
    work = tmp_path / 'work'
    Pipeline(tiny_pipeline, generated_copy, work).run()
    before = times(work)
    image = next((generated_copy / 'JPEGImages').glob('val_*.jpg'))
    image.write_bytes(image.read_bytes() + b'\0')
    Pipeline(tiny_pipeline, generated_copy, work).run()
    assert {name for name in STAGES if times(work)[name] != before[name]} == {'eval_segmentor', 'picture_val'}


def test_without_masks_nothing_is_evaluated_and_that_is_said(tiny_pipeline, generated_copy, tmp_path):
    shutil.rmtree(generated_copy / 'SegmentationClass')
    pipeline = Pipeline(tiny_pipeline, generated_copy, tmp_path / 'work')
    assert pipeline.run() == EXIT_DONE
    rows = {row['stage']: row for row in pipeline.rows}
    for name in ('eval_cam', 'eval_label', 'eval_segmentor'):
        assert rows[name]['value'] is None and 'no masks' in rows[name]['note']
    assert len(list((tmp_path / 'work/label/labels').glob('*.png'))) == 12


def test_unreadable_image_is_left_out_of_the_whole_pipeline(tiny_pipeline, generated_copy, tmp_path, capsys):
    victim = sorted((generated_copy / 'JPEGImages').glob('train_*.jpg'))[2]
    victim.write_bytes(victim.read_bytes()[:300])
    pipeline = Pipeline(tiny_pipeline, generated_copy, tmp_path / 'work')
    assert pipeline.run() == EXIT_SKIPPED
    assert victim.name in capsys.readouterr().err
    assert len(list((tmp_path / 'work/label/labels').glob('*.png'))) == 11
    # A second run finds everything complete and still says what is missing.
    assert Pipeline(tiny_pipeline, generated_copy, tmp_path / 'work').run() == EXIT_SKIPPED


def test_foreign_folder_is_not_touched(tiny_pipeline, generated_root, tmp_path):
    (tmp_path / 'classifier').mkdir()
    (tmp_path / 'classifier/thesis.txt').write_text('precious')
    with pytest.raises(UserError, match='another --work-dir'):
        Pipeline(tiny_pipeline, generated_root, tmp_path).run()
    assert (tmp_path / 'classifier/thesis.txt').read_text() == 'precious'


def test_a_second_run_in_the_folder_is_refused(finished, tiny_pipeline, generated_root):
    options = {'stages.label.background': dict(type='constant', threshold=0.5)}
    second = Pipeline(tiny_pipeline, generated_root, finished, cfg_options=options)
    before = times(finished)
    with WorkDir(finished).lock.held(), pytest.raises(UserError, match=r'is at work there; .*another --work-dir'):
        second.run()
    assert times(finished) == before and not second.keys, 'refused before it reads the data'


@pytest.mark.parametrize(('stages', 'message'), [
    ('[]', 'has no stages'), ('dict()', 'has no stages'), ('dict(a=None)', 'has no stages'), ('3', 'dict of dicts'),
    ('dict(a=3)', 'dict of dicts'),
    ("[dict(name='a', type='train', config='cam', split='train')]", r'a dict by their names.*= dict\(classifier='),
    ("dict(a=dict(type='dance'))", "'dance' is not one of"),
    ("dict(a=dict(type='eval_cam', split='train', inputs=dict(cams='b')))", "reads 'b'"),
    ("dict(a=dict(type='eval_cam', split='train', inputs=dict(cams=5)))", 'NAME/FOLDER'),
    ("dict(a=dict(type='eval_cam', split='train'))", "needs the input 'cams'"),
    ("dict(a=dict(type='eval_cam', split='train', cams='nowhere'))", "cams='nowhere': no such file or folder"),
    ("dict(a=dict(type='eval_cam', cams='.'))", 'split'),
    ("dict(a=dict(type='train', config='x', split='train'))", "'x' is not one of the configs"),
    ("dict(a=dict(type='train', config='x', split='train'))\noptions = dict(a=dict())", 'no setting "options" any'),
    ("dict(a=dict(type='train', config='x', split='train'))\nconfig = dict()", "closest: 'configs'"),
])
def test_bad_pipeline_configs(stages, message, generated_root, tmp_path):
    config = tmp_path / 'pipeline.py'
    config.write_text(f'stages = {stages}\n')
    with pytest.raises(UserError, match=message):
        Pipeline(config, generated_root, tmp_path / 'work')


def test_missing_files_are_named(tiny_pipeline, generated_root, tmp_path):
    with pytest.raises(UserError, match='no such pipeline'):
        Pipeline(tmp_path / 'x.py', generated_root, tmp_path)
    with pytest.raises(UserError, match='--data-root'):
        Pipeline(tiny_pipeline, tmp_path / 'nowhere', tmp_path)
    with pytest.raises(UserError, match='no such file of weights'):
        Pipeline(tiny_pipeline, generated_root, tmp_path, weights=str(tmp_path / 'w.pth'))

import json
import shutil

import pytest

from mmwsss.datasets import DataFolder
from mmwsss.experiments.report.sources import ReportFolder, describe_data, same_data
from mmwsss.structures.settings_folder import MANIFEST_NAME
from mmwsss.utils.errors import UserError


def test_what_a_folder_has(make_run, generated_root):
    folder = ReportFolder.read('run', make_run(generated_root))
    assert (folder.cam.kind, [stage.kind for stage in folder.labels], folder.test.kind) == (
        'make_cam', ['pseudo_label'], 'test')
    assert folder.threshold() == .4
    assert folder.loss_curves() == {'classifier': [(i, 1 / (i + 1)) for i in range(5)]}
    curve = folder.threshold_curves()['eval_cam']
    assert len(curve) == 101 and max(y for _, y in curve) == pytest.approx(100 * folder.content.stages[
        'eval_cam'].report['mIoU'])
    assert same_data([folder], None) == DataFolder.find(generated_root.resolve(), 'voc', classes=folder.data().classes)


@pytest.mark.parametrize(('background', 'threshold'), [
    (dict(type='constant', threshold=.3), .3), (dict(type='saliency_mean', threshold=.4, share=.6), .2),
    (dict(type='power', alpha=4), .2)])
def test_threshold_is_that_of_a_constant_background(make_run, generated_root, background, threshold):
    folder = ReportFolder.read('run', make_run(generated_root))
    path = folder.labels[-1].output / MANIFEST_NAME
    path.write_text(json.dumps(dict(json.loads(path.read_text()), background=background)))
    assert folder.threshold() == threshold


def test_the_data_comes_back_as_it_was_said(make_run, generated_root, tmp_path):
    path = make_run(generated_root)
    data = DataFolder.find(generated_root, mask_dir='masks', classes=['a', 'b'],
                           mask_values={(1, 2, 3): 1, (9, 9, 9): 2})
    plan = json.loads((path / 'stages.json').read_text())
    (path / 'stages.json').write_text(json.dumps(dict(plan, data=describe_data(data))))
    found = ReportFolder.read('run', path).data()
    assert (found.mask_dir, found.classes, found.mask_values) == ('masks', ('a', 'b'), data.mask_values)


def test_other_or_unknown_data(make_run, generated_root, tmp_path):
    root = shutil.copytree(generated_root, tmp_path / 'copy')
    one, two = (ReportFolder.read(name, make_run(place, name)) for name, place in (('a', generated_root), ('b', root)))
    with pytest.raises(UserError, match='b: is of other data'):
        same_data([one, two], None)
    shutil.rmtree(root)
    with pytest.raises(UserError, match=r'b: where its data set is.*--data-root'):
        same_data([two], None)
    assert same_data([two], one.data()) == one.data()

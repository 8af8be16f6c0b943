import pytest

from mmwsss.experiments.comparison.alignment import align, find_stage
from mmwsss.experiments.comparison.compare import Comparison
from mmwsss.experiments.comparison.compare_table import comparison_notes, comparison_tables
from mmwsss.experiments.work_dir import WorkDir

PLAIN = dict(cam=('make_cam', 'CAM'), eval_label=('eval_label', None), label_crf=('pseudo_label', 'label'),
             eval_label_crf=('eval_label', 'label'), eval_segmentor=('test', 'segmentor'))
IRNET = dict(cam=('make_cam', 'CAM'), walk=('refine_cam', 'refined CAM'), irnet_crf=('pseudo_label', 'label'),
             eval_label=('eval_label', 'label'), eval_irnet_segmentor=('test', 'segmentor'))


@pytest.fixture
def make(make_work_dir, tmp_path):
    def make(name, plan, values=(), stages=None, report=True, old=False):
        done = {stage: dict(metrics=[dict(metric='mIoU', value=dict(values)[stage], unit='%', note='val')]
                            if stage in dict(values) else []) for stage in stages or plan}
        return make_work_dir(tmp_path / name, done, report, None if old else plan)
    return make


def names(*folders):
    return [list(content.stages) for content in align([WorkDir(folder).read() for folder in folders])]


def test_stages_of_one_type_and_role_are_counterparts(make):
    assert names(make('plain', PLAIN), make('irnet', IRNET)) == [
        ['cam', 'eval_label', 'label: label_crf / irnet_crf', 'label: eval_label_crf / eval_label',
         'segmentor: eval_segmentor / eval_irnet_segmentor'],
        ['cam', 'walk', 'label: label_crf / irnet_crf', 'label: eval_label_crf / eval_label',
         'segmentor: eval_segmentor / eval_irnet_segmentor']]


def test_of_several_with_one_role_it_is_the_last(make):
    two = make('two', dict(cam_scale_1=('make_cam', 'CAM'), cam=('make_cam', 'CAM')))
    other = make('other', dict(maps=('make_cam', 'CAM'), cam_scale_1=('picture', None)))
    assert names(two, other) == [['cam_scale_1', 'CAM: cam / maps'], ['CAM: cam / maps', 'cam_scale_1']]


def test_folders_of_earlier_versions_go_by_names(make):
    old, new = make('old', PLAIN, old=True), make('new', IRNET)
    assert names(old, new) == [
        ['cam', 'eval_label', 'label_crf', 'eval_label_crf', 'eval_segmentor'],
        ['cam', 'walk', 'irnet_crf', 'eval_label', 'eval_irnet_segmentor']]
    both = dict(eval_segmentor=('test', None), eval_irnet_segmentor=('test', None))
    shared = make('shared', both, old=True)
    assert names(shared, make('plain', PLAIN), new)[0] == ['segmentor: eval_segmentor / eval_irnet_segmentor',
                                                           'eval_irnet_segmentor']


def test_types_that_differ_are_no_counterparts(make):
    a, b = make('a', dict(last=('test', 'end'))), make('b', dict(last=('eval_label', 'end')))
    assert names(a, b) == [['last'], ['last (eval_label)']]


def test_final_figures_are_compared_whatever_they_are_called(make):
    plain = make('plain', PLAIN, dict(eval_label=40., eval_label_crf=45., eval_segmentor=50.))
    irnet = make('irnet', IRNET, dict(eval_label=47., eval_irnet_segmentor=53.))
    comparison = Comparison(dict(plain=[plain], irnet=[irnet]))
    assert not comparison.is_incomplete
    assert comparison_tables(comparison)[0].rows == [
        ('eval_label', 'mIoU % (val)', '40.00', ''),
        ('label: eval_label_crf / eval_label', 'mIoU % (val)', '45.00', '47.00 (+2.00)'),
        ('segmentor: eval_segmentor / eval_irnet_segmentor', 'mIoU % (val)', '50.00', '53.00 (+3.00)')]


def test_a_stage_is_found_by_any_of_its_names():
    stages = ['cam', 'label: eval_label_crf / eval_label', 'segmentor: a / b']
    for name, label in (('cam', 'cam'), ('eval_label', stages[1]), ('b', stages[2]), (stages[2], stages[2]),
                        ('x', 'x')):
        assert find_stage(stages, name) == label


def test_what_a_pipeline_does_not_have_is_not_missing(make):
    plain = make('plain', PLAIN, dict(eval_label=40., eval_label_crf=45., eval_segmentor=50.))
    half = make('half', IRNET, dict(eval_label=47.), stages=['cam', 'walk', 'irnet_crf', 'eval_label'], report=False)
    comparison = Comparison(dict(plain=[plain], half=[half]))
    assert comparison.is_incomplete
    cells = {row[0]: row[3] for row in comparison_tables(comparison)[0].rows}
    assert cells == {'eval_label': '', 'label: eval_label_crf / eval_label': '47.00 (+2.00)',
                     'segmentor: eval_segmentor / eval_irnet_segmentor': 'missing'}
    notes = '\n'.join(comparison_notes(comparison))
    assert 'has not run to its end.' in notes and 'even if this pipeline has none' not in notes

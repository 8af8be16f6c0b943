import pytest

from mmwsss.experiments.pipeline.pipeline_config import PipelineConfig
from mmwsss.experiments.pipeline.roles import find_roles


@pytest.fixture
def roles(repo_root):
    return lambda name: find_roles(PipelineConfig(repo_root / f'configs/pipelines/{name}.py').stages)


def test_what_is_called_otherwise_has_the_same_role(roles):
    plain, irnet = roles('affinitynet_small'), roles('irnet_small')
    for name, other, role in (
            ('classifier', 'classifier', 'CAM'), ('cam', 'cam', 'CAM'),
            ('affinity_label', 'irnet_label', 'confident label'),
            ('affinity', 'irnet', 'refined CAM'), ('walk', 'irnet_walk', 'refined CAM'),
            ('eval_walk', 'eval_irnet_walk', 'refined CAM'),
            ('eval_walk_label', 'eval_irnet_walk_label', 'refined CAM'),
            ('label', 'irnet_crf', 'label'), ('eval_label', 'eval_irnet_crf', 'label'),
            ('segmentor', 'irnet_segmentor', 'segmentor'), ('eval_segmentor', 'eval_irnet_segmentor', 'segmentor')):
        assert plain[name] == irnet[other] == role


def test_labels_are_what_they_are_to_the_segmentor(roles):
    cam, voc, slams = roles('cam_small'), roles('affinitynet_r38_voc'), roles('slams_small')
    assert cam['label'] is None and cam['eval_label'] is None, 'the labels of the threshold are only looked at'
    assert cam['label_crf'] == cam['eval_label_crf'] == 'label'
    assert voc['eval_walk_label'] == 'label', "the walk's own label maps train the segmentor"
    assert voc['eval_walk'] == 'refined CAM' and slams['encoder'] is None


def test_a_role_may_be_named(tmp_path):
    config = tmp_path / 'pipeline.py'
    config.write_text(f"stages = dict(a=dict(type='eval_cam', split='val', cams='{tmp_path}', role='upper bound'),\n"
                      f"              b=dict(type='eval_cam', split='val', cams='{tmp_path}'))\n")
    assert find_roles(PipelineConfig(config).stages) == dict(a='upper bound', b=None)

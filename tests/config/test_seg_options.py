
import pytest

from mmwsss.config.config import load_config
from mmwsss.config.seg_options import (
    check_inference_mode,
    check_output,
    prepare_test,
    show_predictions,
    use_postprocessors,
    use_tta,
    without_masks,
)
from mmwsss.utils.errors import UserError


@pytest.fixture
def cfg(repo_root, generated_root):
    return load_config(repo_root / 'configs/segmentation/deeplab_efflite0_small.py', generated_root)


def types(pipeline):
    return [step['type'] for step in pipeline]


def test_views(cfg):
    model = cfg.model.to_dict()
    assert types(cfg.test_dataloader.dataset.pipeline) == ['LoadImage', 'LoadMask', 'PackWSSSInputs']
    assert use_tta(cfg) is cfg
    assert cfg.model.type == 'MultiViewSegmentor' and cfg.model.module.to_dict() == model
    assert types(cfg.test_dataloader.dataset.pipeline) == ['LoadImage', 'LoadMask', 'TestTimeAug']
    assert cfg.test_dataloader.dataset.pipeline is not cfg.tta_pipeline
    factors = [step.factor for step in cfg.tta_pipeline[2].transforms[0]]
    assert factors == [0.5, 0.75, 1.0, 1.25, 1.5]


@pytest.mark.parametrize('missing', ['tta_model', 'tta_pipeline'])
def test_config_without_views(cfg, missing):
    cfg.pop(missing)
    with pytest.raises(UserError, match=rf'deeplab_efflite0_small\.py: has no {missing} '):
        use_tta(cfg)


@pytest.mark.parametrize(('options', 'word'), [
    (dict(mode='slyde'), "mode=slyde: must be 'whole' or 'slide'"), (dict(mode='slide'), 'got None and None'),
    (dict(mode='slide', crop_size=(224, 224)), 'stride=.down, right.'),
    (dict(mode='slide', crop_size=224, stride=1), 'got 224 and 1'),
    (dict(mode='slide', crop_size=(64, 64), stride=(64, 65)), 'stride <= crop_size'),
    (dict(mod='slide'), r"test_cfg\.mod: there is no such setting .closest: 'mode'")])
def test_wrong_modes_are_refused_before_the_first_image(cfg, options, word):
    cfg.model.test_cfg = options
    with pytest.raises(UserError, match=word):
        prepare_test(cfg)


def test_right_modes_and_models_without(cfg, repo_root, generated_root):
    check_inference_mode(cfg)
    cfg.model.test_cfg = dict(mode='slide', crop_size=[64, 48], stride=[64, 40], own=3)
    check_inference_mode(cfg)
    check_inference_mode(load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root))


def test_postprocessors(cfg):
    use_postprocessors(cfg, num_workers=3)
    metric, refined = cfg.test_evaluator
    assert metric.type == 'IoUMetric' and refined.type == 'RefinedIoUMetric' and refined.num_workers == 3
    assert refined.postprocessors == cfg.test_postprocessors and cfg.test_postprocessors[0].scale_factor == 2
    use_postprocessors(cfg, [dict(type='Other')])
    assert cfg.test_evaluator[2].postprocessors == [dict(type='Other')]
    cfg.pop('test_postprocessors')
    with pytest.raises(UserError, match='has no test_postprocessors'):
        use_postprocessors(cfg)


@pytest.mark.parametrize('name', ['SegmentationClass', 'Saliency', 'JPEGImages/new'])
def test_label_maps_do_not_replace_data(cfg, generated_root, name):
    with pytest.raises(UserError, match='is a folder of the data set'):
        use_postprocessors(cfg, out_dir=str(generated_root / 'ImageSets/..' / name))
    with pytest.raises(UserError, match='is a folder of the data set'):
        prepare_test(cfg, out_dir=generated_root / name)
    with pytest.raises(UserError, match='is a folder of the data set'):
        show_predictions(cfg, generated_root / name)
    assert 'PseudoLabelWriter' not in str(cfg.test_evaluator) and 'save_dir' not in (cfg.get('visualizer') or {})


def test_folders_of_any_data_set(tmp_path):
    for folder in ('photos', 'masks', 'cams'):
        (tmp_path / folder).mkdir()
    inner = dict(type='ImageLabelDataset', data_root=str(tmp_path), img_dir='photos')
    other = dict(inner, img_dir='cams/more')
    for dataset in (inner, dict(type='RepeatDataset', dataset=inner), dict(inner, type='Foreign'),
                    dict(type='ConcatDataset', datasets=[inner, other]),
                    dict(type='ConcatDataset', datasets=[other, inner])):
        with pytest.raises(UserError, match='is a folder of the data set'):
            check_output(dataset, tmp_path / 'photos/new')
        check_output(dataset, tmp_path / 'cams')
    with pytest.raises(UserError, match='is a folder of the data set'):  # where its type looks for masks
        check_output(inner, tmp_path / 'masks')


def test_prediction_only(cfg):
    without_masks(use_tta(cfg))
    assert types(cfg.test_dataloader.dataset.pipeline) == ['LoadImage', 'TestTimeAug']
    assert cfg.test_evaluator == [] and cfg.test_dataloader.dataset.missing_mask == 'none'


def test_num_classes_and_iterations_of_the_papers_configs(repo_root, tmp_path):
    (tmp_path / 'classes.txt').write_text('\n'.join(f'class{i}' for i in range(80)))
    for name, iterations in (('deeplab_v2_r101_voc', 30000), ('deeplab_v1_r38_voc', 20000),
                             ('deeplab_aspp_r101_coco', 100000)):
        path = repo_root / f'configs/segmentation/{name}.py'
        cfg = load_config(path, tmp_path)
        assert cfg.model.decode_head.num_classes == 81
        assert cfg.train_cfg.max_iters == iterations and 'end' not in cfg.param_scheduler[0]  # the training's end
        assert cfg.train_dataloader.batch_size == 10
        assert tuple(cfg.model.data_preprocessor.size) == tuple(cfg.train_dataloader.dataset.pipeline[3].crop_size)
        shorter = load_config(path, tmp_path, {'train_cfg.max_iters': 7})
        assert shorter.train_cfg.max_iters == 7 and 'end' not in shorter.param_scheduler[0]

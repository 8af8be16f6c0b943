import pytest

from mmwsss.experiments import training_checks
from mmwsss.experiments.pipeline import Pipeline
from mmwsss.experiments.pipeline.pipeline_config import PipelineConfig
from mmwsss.utils.errors import UserError


@pytest.fixture
def make(tiny_pipeline, generated_root, tmp_path):
    def make(weights=None, auto_scale_lr=False, **options):
        options = {key.replace('__', '.'): value for key, value in options.items()}
        return Pipeline(tiny_pipeline, generated_root, tmp_path / 'work', weights, options,
                        auto_scale_lr=auto_scale_lr)
    return make


def config_of(pipeline, name):
    return pipeline.stages[name].load(pipeline._context(pipeline.stages[name]))


def test_settings_go_to_a_config_or_to_a_stage(make):
    pipeline = make(cfg_options__cam__train_cfg__max_epochs=7, cfg_options__classifier__train_dataloader__batch_size=3,
                    cfg_options__eval_segmentor__model__decode_head__channels=4)
    assert config_of(pipeline, 'classifier').train_cfg.max_epochs == 7
    assert config_of(pipeline, 'cam').train_cfg.max_epochs == 7, 'cam is a config and a stage: the config is meant'
    assert config_of(pipeline, 'classifier').train_dataloader.batch_size == 3
    assert config_of(pipeline, 'cam').train_dataloader.batch_size == 4
    assert config_of(pipeline, 'eval_segmentor').model.decode_head.channels == 4
    assert config_of(pipeline, 'segmentor').model.decode_head.channels == 8


@pytest.mark.parametrize(('key', 'word'), [
    ('cfg_options__clasifier__train_cfg__max_epochs', r"cfg_options\.clasifier\..*closest: 'classifier'; there are c"),
    ('cfg_options__nope__x', r'cfg_options\.nope\.x: must begin with the name of a config or a stage'),
    ('cfg_options__cam', 'is a dict|must begin with the name'),
    ('cfg_options__cam__nope__x', r"stage classifier: --cfg-options cfg_options\.cam\.nope\.x: there is no setting"),
    ('cfg_options__classifier__nope__x', r'cfg_options\.cam\.nope\.x: there is no setting'),
    ('cfg_options__label__background', r'stage label runs no config; an option of its own is stages\.label\.backgr'),
    ('train_dataloader__batch_size', r'say of which one, as cfg_options\.cam\.train_dataloader\.batch_size'),
    ('cam__train_cfg__max_epochs', r'write cfg_options\.cam\.train_cfg\.max_epochs'),
    ('label__num_workers', r'write stages\.label\.num_workers .*or cfg_options\.label\.num_workers'),
    ('stagess__label__num_workers', "there is no setting 'stagess' .closest: 'stages'"),
])
def test_settings_that_are_nobodys_are_refused(make, key, word):
    with pytest.raises(UserError, match=word):
        make(**{key: 1})


@pytest.mark.parametrize(('options', 'word'), [
    (dict(stages__eval_cam__missing='skp'), "missing must be 'error' or 'skip', got 'skp'"),
    (dict(stages__label__missing_cam='skp'), "missing_cam must be 'error' or 'skip', got 'skp'"),
    (dict(stages__label__num_workers=-3), 'num_workers must be a whole number, at least 0, got -3'),
    (dict(stages__eval_segmentor__num_workers=-1), 'num_workers must be'),
])
def test_wrong_settings_of_stages_are_refused_before_anything_runs(make, options, word):
    with pytest.raises(UserError, match=word):
        make(**options)


def test_hints_can_be_followed(make):
    with pytest.raises(UserError) as caught:
        make(cfg_options__cam__train_dataloader__batch_size=50).check()
    hint = 'cfg_options.cam.train_dataloader.batch_size=12'
    assert str(caught.value).startswith('stage classifier: ') and f'--cfg-options {hint} or less' in str(caught.value)
    key, value = hint.split('=')
    make(**{key: int(value)}).check()


def test_learning_rates_grow_with_the_batches_of_all_trainings(make):
    """What they were chosen for is the batch of the config, or what is said; the trainings are other ones then."""
    plain = make()
    scaled = make(auto_scale_lr=True, cfg_options__segmentor__auto_scale_lr__base_batch_size=9,
                  cfg_options__classifier__train_dataloader__batch_size=2)
    assert [config_of(scaled, name).auto_scale_lr for name in ('classifier', 'segmentor')] == [
        dict(base_batch_size=16, enable=True), dict(base_batch_size=9, enable=True)]
    assert config_of(scaled, 'classifier').train_dataloader.batch_size == 2
    assert not config_of(plain, 'classifier').auto_scale_lr.enable
    scaled = make(auto_scale_lr=True)
    for pipeline in (plain, scaled):
        pipeline.check()
    assert plain.keys['classifier'] != scaled.keys['classifier']


def test_weights_of_each_config(make, tmp_path, monkeypatch):
    monkeypatch.setattr(training_checks, 'check_training_weights', lambda *args: None)  # whether they fit
    for name in ('a.pth', 'b.pth', 'c.pth'):
        (tmp_path / name).write_text(name)
    a, b, c = (str(tmp_path / name) for name in ('a.pth', 'b.pth', 'c.pth'))

    def weights(given):
        pipeline = make(given)
        return {name: (config_of(pipeline, name).model.backbone.init_cfg or {}).get('checkpoint')
                for name in ('classifier', 'segmentor')}

    assert weights(a) == dict(classifier=a, segmentor=a)
    assert weights(dict(cam=a, segmentor=b)) == dict(classifier=a, segmentor=b)
    assert weights(dict(cam=a, classifier=c)) == dict(classifier=c, segmentor=None)
    keys = []
    for given in (None, dict(cam=a), dict(cam=b), dict(segmentor=b)):
        pipeline = make(given)
        pipeline.check()
        keys.append(pipeline.keys)
    assert len({key['classifier'] for key in keys}) == 3 and keys[0]['classifier'] == keys[3]['classifier']
    assert keys[0]['segmentor'] != keys[3]['segmentor']
    with pytest.raises(UserError, match=r"--weights cams=.*closest: 'cam'; there are cam, segmentor"):
        make(dict(cams=a))


def test_missing_weights_show_at_the_start(make):
    missing = make(cfg_options__segmentor__model__backbone__init_cfg=dict(
        _delete_=True, type='StrictPretrained', checkpoint='no.pth'))
    with pytest.raises(UserError, match=r'stage segmentor: no\.pth: no such file of weights; name them with --weights '
                                        r'segmentor=FILE or cfg_options\.segmentor\.model\.backbone\.init_cfg'):
        missing.check()


def test_missing_splits_show_at_the_start(make):
    with pytest.raises(UserError, match=r'stage eval_segmentor: .*test.txt: no such split; splits here: train, val'):
        make(stages__eval_segmentor__split='test').run()


def test_inputs_from_elsewhere_count_by_content(tmp_path, generated_root):
    config = tmp_path / 'pipeline.py'
    config.write_text(f"stages = dict(look=dict(type='picture', split='val', masks='{tmp_path / 'maps'}'))\n")
    with pytest.raises(UserError, match=r'maps.*: no such file or folder'):
        PipelineConfig(config)
    (tmp_path / 'maps').mkdir()

    def key():
        pipeline = Pipeline(config, generated_root, tmp_path / 'work')
        assert pipeline.stages['look'].paths == dict(masks=str(tmp_path / 'maps'))
        pipeline.check()
        return pipeline.keys['look']

    before = key()
    assert key() == before
    (tmp_path / 'maps/a.png').write_text('a map')
    assert key() != before


def test_an_input_is_dropped(tmp_path, repo_root):
    config = tmp_path / 'pipeline.py'
    config.write_text(f"_base_ = '{repo_root}/configs/pipelines/cam_small.py'\n"
                      f"stages = dict(picture_train=dict(inputs=dict(with_CRF=None)), picture_val=None)\n")
    stages = PipelineConfig(config).stages
    assert stages['picture_train'].inputs == dict(cams='cam', pseudo_label='label') and 'picture_val' not in stages


def test_a_stage_is_dropped_and_another_put_in_its_place(make):
    options = {'stages.picture_train': None, 'stages.look': dict(
        type='picture', split='train', inputs=dict(cams='cam'), after='cam')}
    pipeline = make(**options)
    assert list(pipeline.stages) == ['classifier', 'cam', 'look', 'eval_cam', 'label', 'eval_label', 'segmentor',
                                     'eval_segmentor', 'picture_val']
    with pytest.raises(UserError, match="stage eval_label reads 'label', which is no stage before it"):
        make(stages__label=None)


def test_every_pipeline_can_be_read(repo_root):
    for path in (repo_root / 'configs/pipelines').glob('*.py'):
        assert PipelineConfig(path).stages

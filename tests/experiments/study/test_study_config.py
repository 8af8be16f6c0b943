import shutil

import pytest

from mmwsss.experiments.study.study_config import StudyConfig, file_name
from mmwsss.utils.errors import UserError

ROWS = '''[dict(name='baseline', config='cam'),
    dict(name='wide', config='cam', cfg_options={'train_dataloader.batch_size': 3}, seeds=(1,)),
    dict(name='SSA', config='cam', checkpoint_of='baseline', tests=('scale1',), seeds=(2,))]'''


@pytest.fixture
def study_config(repo_root, tmp_path):
    """Writes a study config."""
    def write(settings='', rows=ROWS):
        path = tmp_path / 'study.py'
        path.write_text(f'''
configs = dict(cam='{repo_root}/configs/cam/cam_efflite0_small.py')
seeds = (0, 1, 2)
cfg_options = {{'train_cfg.max_epochs': 3}}
tests = dict(scale1={{'model.inference_hooks.0.scales': (1.0,)}}, multi={{}})
rows = {rows}
{settings}
''')
        return path
    return write


@pytest.fixture
def read(study_config, generated_root):
    """Writes a study config and reads it."""
    def read(settings='', rows=ROWS, weights=None, auto_scale_lr=False, **cfg_options):
        return StudyConfig(study_config(settings, rows), generated_root, weights, cfg_options, auto_scale_lr)
    return read


def test_rows_have_the_defaults_of_the_study(read):
    config = read()
    baseline, wide, ssa = config.rows.values()
    assert (baseline.seeds, baseline.tests, baseline.checkpoint_of) == ((0, 1, 2), ('scale1', 'multi'), None)
    assert (wide.seeds, wide.tests) == ((1,), ('scale1', 'multi'))
    assert (ssa.seeds, ssa.tests) == ((2,), ('scale1',))
    assert config.source(ssa) is baseline and config.source(wide) is wide
    assert (config.split, config.num_images, config.baseline) == ('train', None, 'baseline')
    follower = read(rows="[dict(name='b', config='cam', seeds=(7,)), dict(name='f', config='cam', checkpoint_of='b')]")
    assert follower.rows['f'].seeds == (7,)


def test_a_folder_without_lists_of_images_is_refused(study_config, csv_folder):
    shutil.rmtree(csv_folder / 'ImageSets')
    with pytest.raises(UserError, match=r'a study needs the split train; write .*ImageSets/train\.txt \('):
        StudyConfig(study_config(), csv_folder)


def test_the_seed_reaches_the_training_and_its_data_set(read):
    config = read()
    for seed in (0, 2):
        cfg = config.train_config(config.rows['baseline'], seed)
        assert cfg.randomness.seed == seed and cfg.train_dataloader.dataset.seed == seed


def test_options_come_one_over_the_other(read):
    hooks = [dict(type='MultiScaleFlip', scales=(2.0,), flip=False)]
    config = read(rows=[dict(name='a', config='cam', test_options={'model.inference_hooks': hooks},
                             cfg_options={'train_dataloader.batch_size': 3, 'train_cfg.max_epochs': 5})])
    row = config.rows['a']
    cfg = config.train_config(row, 0)
    assert cfg.train_cfg.max_epochs == 5 and cfg.train_dataloader.batch_size == 3
    assert cfg.param_scheduler[0].get('end') in (None, 5), 'the schedule ends with the training'
    assert len(cfg.model.inference_hooks[0].scales) == 4, 'options of tests are not those of the training'
    # The test's option names a part of the list that the row's option has put in its place.
    hook, = config.test_config(row, 0, 'scale1').model.inference_hooks
    assert (hook.scales, hook.flip) == ((1.0,), False)
    assert config.test_config(row, 0, 'multi').model.inference_hooks[0].scales == (2.0,)


def test_nested_options_of_the_command_line_override_dotted_ones(read):
    config = read(**{'cfg_options.train_cfg.max_epochs': 1, 'cfg_options.train_dataloader.batch_size': 2,
                     'rows.1.cfg_options.train_dataloader.batch_size': 5, 'num_images': 4})
    assert config.num_images == 4
    one, other = (config.train_config(config.rows[name], 1) for name in ('baseline', 'wide'))
    assert (one.train_cfg.max_epochs, one.train_dataloader.batch_size) == (1, 2)
    assert (other.train_cfg.max_epochs, other.train_dataloader.batch_size) == (1, 5)


def test_learning_rates_grow_with_the_batches_of_all_rows(read):
    options = {'rows.1.cfg_options.train_dataloader.batch_size': 5}
    config = read(auto_scale_lr=True, **options)
    for name, batch in (('baseline', 16), ('wide', 5)):
        cfg = config.train_config(config.rows[name], 1)
        assert cfg.auto_scale_lr == dict(base_batch_size=16, enable=True) and cfg.train_dataloader.batch_size == batch
    config = read(**options)
    assert not config.train_config(config.rows['wide'], 1).auto_scale_lr.enable


def test_weights_are_those_of_every_backbone(read, tmp_path):
    (tmp_path / 'w.pth').write_bytes(b'')
    config = read(weights=str(tmp_path / 'w.pth'))
    cfg = config.train_config(config.rows['baseline'], 0)
    assert cfg.model.backbone.init_cfg == dict(type='StrictPretrained', checkpoint=str(tmp_path / 'w.pth'))
    with pytest.raises(UserError, match='no such file of weights'):
        read(weights=str(tmp_path / 'nothing.pth'))


@pytest.mark.parametrize(('settings', 'word'), [
    ('seed = (1,)', "'seed' is no setting.*seeds"), ('num_image = 3', 'num_images'), ('num_images = 0', 'at least 1'),
    ('seeds = 3', 'list of different'), ('seeds = (1, 1)', 'list of different'), ('seeds = (-1,)', 'list of different'),
    ('seeds = ()', 'list of different'), ('split = None', 'split must name'), ("baseline = 'x'", "baseline 'x'"),
    ("tests = ['scale1']", 'must be dicts'), ('tests = dict(a=3)', 'must be dicts'),
    ("tests = {'a/b': {}, 'a b': {}}", 'every test needs a name'),
    ("cfg_options = {'randomness.seed': 3}", r'seeds=\(0, 1, 2\)'), ('rows = []', 'list of dicts'),
    ('rows = [3]', 'list of dicts'), ("rows = [dict(config='cam')]", 'each with a name'),
])
def test_bad_studies(read, settings, word):
    with pytest.raises(UserError, match=rf'study.py: .*{word}'):
        read(settings)


@pytest.mark.parametrize(('row', 'word'), [
    ("name='a'", 'None is not one of the configs'), ("name='a', config='x'", "'x' is not one of the configs"),
    ("name='a', config='cam', seed=3", "no setting 'seed'"), ("name='a', config='cam', tests='multi'", 'tests must'),
    ("name='a', config='cam', tests=['x']", 'tests must'), ("name='a', config='cam', tests=[]", 'tests must'),
    ("name='a', config='cam', cfg_options=[3]", 'must be dicts'), ("name='a', config='cam', seeds=['0']", 'whole'),
    ("name='a', config='cam', checkpoint_of='z'", 'no row that is trained'),
    ("name='a', config='cam', checkpoint_of='follower'", 'no row that is trained'),
    ("name='a', config='cam', baseline='z'", "baseline 'z' is not one of the rows"),
    ("name='a', config='cam', checkpoint_of='base', seeds=(9,)", 'row base has the seeds'),
])
def test_bad_rows(read, row, word):
    rows = f"[dict(name='base', config='cam'), dict(name='follower', config='cam', checkpoint_of='base'), dict({row})]"
    with pytest.raises(UserError, match=word):
        read(rows=rows)


@pytest.mark.parametrize('names', [('a', 'a'), ('+', '..'), ('a b', 'a_b')])
def test_rows_that_cannot_be_told_apart(read, names):
    with pytest.raises(UserError, match='every row needs a name of its own'):
        read(rows=[dict(name=name, config='cam') for name in names])


def test_configs_that_train_or_test_nothing(read, tmp_path):
    row = read().rows['baseline']
    for text, word in (('', 'has no model'), ("model = dict(type='CAMClassifier')", 'has no train_dataloader')):
        (tmp_path / 'empty.py').write_text(f'train_cfg = dict(max_epochs=1)\ntrain_dataloader = None\n{text}')
        config = read("""configs = dict(cam='empty.py')""")
        with pytest.raises(UserError, match=rf'empty.py: {word}'):
            config.train_config(row, 0)
    with pytest.raises(UserError, match='no test_dataloader, or neither CAMMetric nor IoUMetric'):
        config.test_config(row, 0, 'multi')


def test_file_names_stay_in_their_folder():
    assert file_name('+ER, ../SSA (stage 4)') == '+ER_.._SSA_stage_4'
    assert file_name('../..') == ''


def test_options_of_one_config_and_of_one_row(read, tmp_path):
    config = read(**{'cfg_options.cam.train_cfg.max_epochs': 4, 'cfg_options.wide.train_dataloader.batch_size': 5,
                     'cfg_options.train_dataloader.num_workers': 1, 'cfg_options.SSA.model.test_cfg.stride': 2})
    rows = config.rows
    for name, epochs, size in (('baseline', 4, 16), ('wide', 4, 5)):
        cfg = config.train_config(rows[name], 1)
        assert cfg.train_cfg.max_epochs == epochs and cfg.train_dataloader.num_workers == 1
        assert cfg.train_dataloader.batch_size == size
    assert config.test_config(rows['SSA'], 2, 'scale1').model.test_cfg.stride == 2
    assert config.test_config(rows['baseline'], 2, 'scale1').model.test_cfg.stride != 2
    assert config.options_of(rows['wide']) == {'train_cfg.max_epochs': 4, 'train_dataloader.num_workers': 1}
    with pytest.raises(UserError, match="there is no setting 'nope'"):
        config = read(**{'cfg_options.nope.x': 1})
        config.train_config(config.rows['baseline'], 0)


def test_weights_of_one_config_or_row(read, tmp_path):
    for name in ('a.pth', 'b.pth'):
        (tmp_path / name).touch()
    a, b = str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth')

    def checkpoints(weights):
        config = read(weights=weights)
        return [config.train_config(config.rows[name], 1).model.backbone.init_cfg.checkpoint
                for name in ('baseline', 'wide')]

    assert checkpoints(a) == [a, a] and checkpoints(dict(cam=a, wide=b)) == [a, b]
    with pytest.raises(UserError, match=r"'cams' is not one of the configs \(closest: 'cam'"):
        read(weights=dict(cams=a))


def test_crf_is_one_of_the_presets_and_for_cams(read, repo_root):
    assert read(rows="[dict(name='a', config='cam', crf='softmax')]").rows['a'].crf == 'softmax'
    with pytest.raises(UserError, match="crf is one of softmax, label, not 'hard'"):
        read(rows="[dict(name='a', config='cam', crf='hard')]")
    seg = repo_root / 'configs/segmentation/deeplab_efflite0_small.py'
    config = read(rows="[dict(name='a', config='seg', crf='label')]", settings=f"configs = dict(seg='{seg}')\n"
                  "cfg_options, tests = {}, {'test': {}}")
    with pytest.raises(UserError, match='row a: crf is for CAMs'):
        config.test_config(config.rows['a'], 0, 'test')

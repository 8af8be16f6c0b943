"""What the configs have in common; tools/check_configs.py builds each of them."""
import ast
import re
import shutil

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmwsss.utils.errors import UserError

METHODS = ('affinitynet', 'cam', 'gradient_cam', 'infercam', 'irnet', 'rcm_mam', 'seam', 'segmentation', 'slams', 'ssa',
           'wsol')
# They import packages that are extras; tests/config/test_backbone_configs.py builds them.
WITH_EXTRAS = ('backbones',)


@pytest.fixture(scope='module')
def configs(repo_root):
    return {f'{path.parent.name}/{path.name}': Config.fromfile(path)
            for method in METHODS for path in sorted((repo_root / 'configs' / method).glob('*.py'))}


def bases(path):
    """Returns the files that a config file names in ``_base_``."""
    for node in ast.parse(path.read_text().replace('{{', '(').replace('}}', ')')).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            value = ast.literal_eval(node.value)
            return [(path.parent / base).resolve() for base in ([value] if isinstance(value, str) else value)]
    return []


def test_every_folder_of_configs_is_known(repo_root):
    folders = {path.parent.name for path in repo_root.glob('configs/*/*.py')}
    assert folders - {'_base_', 'pipelines', 'studies'} == {*METHODS, *WITH_EXTRAS}


class _Loop(EpochBasedTrainLoop):
    """A train loop of some length, without data."""

    def __init__(self, max_epochs, max_iters):
        self._max_epochs, self._max_iters = max_epochs, max_iters


@pytest.mark.parametrize('method', METHODS)
def test_schedules_end_with_the_training(configs, method):
    batches = 7
    for name, cfg in configs.items():
        if not name.startswith(f'{method}/') or cfg.train_cfg is None:
            continue
        # A warm-up of one epoch aside.
        assert [scheduler.get('end') for scheduler in cfg.param_scheduler] in ([None], [1, None]), name
        # The training says how long it is; MMEngine's Runner makes the schedule of it.
        iters = cfg.train_cfg.get('max_iters') or cfg.train_cfg.max_epochs * batches
        epochs = cfg.train_cfg.get('max_epochs') or -(-iters // batches)
        runner = object.__new__(Runner)
        runner._train_loop, runner._train_dataloader = _Loop(epochs, iters), None
        runner._train_loop.dataloader = range(batches)
        runner.logger = MMLogger.get_instance('test_configs')
        parameter = torch.nn.Parameter(torch.ones(1))
        runner.optim_wrapper = OptimWrapper(torch.optim.SGD([parameter], lr=1.0))
        schedulers = runner.build_param_scheduler(cfg.param_scheduler)
        assert [scheduler.end for scheduler in schedulers] in ([iters], [batches, iters]), name
        assert not any(scheduler.by_epoch for scheduler in schedulers), name


def test_pipelines_of_training_images_stand_once(repo_root):
    found = {}
    for path in sorted(repo_root.glob('configs/**/*.py')):
        text = path.read_text()
        if match := re.search(r'^train_pipeline = \[\n(.*?)^\]', text, re.MULTILINE | re.DOTALL):
            size = re.search(r'^crop_size = (.*)', text, re.MULTILINE)
            steps = match[1].replace('=crop_size', f'={size[1]}' if size else '')
            found.setdefault(re.sub(r'#.*|\s', '', steps), []).append(path.name)
    assert len(found) > 10
    assert [names for names in found.values() if len(names) > 1] == []


def test_configs_inherit_from_one_config_at_most(repo_root):
    """A variant of a recipe, the recipe, and bases, of which one may build on another."""
    def chain(path, is_counted):
        return is_counted(path) + max((chain(base, is_counted) for base in bases(path)), default=0)

    for path in repo_root.glob('configs/*/*.py'):
        if path.parent.name in METHODS:
            # SSA or SCG over SPA's training, which is CAM's with a loss more.
            deepest = 3 if path.name.startswith(('spa_ssa_', 'spa_scg_')) else 2
            assert chain(path, lambda p: '_base_' not in p.parts) <= deepest, path
            assert chain(path, lambda p: '_base_' in p.parts) <= (3 if path.name.endswith('_folder.py') else 2), path


def test_metafiles_are_those_of_the_configs(repo_root, configs):
    index = yaml.safe_load((repo_root / 'model-index.yml').read_text())['Import']
    assert {f'configs/{method}/metafile.yml' for method in (*METHODS, *WITH_EXTRAS)} == set(index)
    listed = []
    for path in index:
        content = yaml.safe_load((repo_root / path).read_text())
        collections = {collection['Name'] for collection in content['Collections']}
        for model in content['Models']:
            assert model['In Collection'] in collections, f'{path}: {model["Name"]}'
            for result in model.get('Results', ()):
                assert result['Task'] and result['Dataset']
                assert all(0 < value < 100 for value in result['Metrics'].values()), model
            listed.append(model['Config'].removeprefix('configs/'))
    others = {f'{method}/{path.name}' for method in WITH_EXTRAS
              for path in (repo_root / 'configs' / method).glob('*.py')}
    assert sorted(listed) == sorted({*configs, *others})


@pytest.fixture
def checkout(repo_root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root / 'tools'))
    shutil.copytree(repo_root / 'configs', tmp_path / 'configs')
    shutil.copy(repo_root / 'model-index.yml', tmp_path)
    return tmp_path


@pytest.mark.parametrize(('old', 'new', 'message'), [
    ('', '', None),
    ('  - Name: seam_r38_voc_er\n    In Collection: SEAM\n    Config: configs/seam/seam_r38_voc_er.py\n', '',
     r'seam/metafile\.yml: lacks seam_r38_voc_er\.py'),
    ('In Collection: SEAM', 'In Collection: SAEM', 'in no collection SAEM; there are SEAM'),
    ('seam_r50_small.py', 'seam_r99.py', r'seam_r99\.py: there is no such file')])
def test_the_check_names_what_is_wrong_with_a_metafile(checkout, old, new, message):
    from check_metafiles import check_metafiles
    metafile = checkout / 'configs/seam/metafile.yml'
    text = metafile.read_text()
    assert old in text
    metafile.write_text(text.replace(old, new, 1) if old else text)
    if message is None:
        check_metafiles(checkout)
    else:
        with pytest.raises(UserError, match=message):
            check_metafiles(checkout)


def test_a_new_config_must_be_listed_and_its_metafile_too(checkout):
    from check_metafiles import check_metafiles
    shutil.copytree(checkout / 'configs/irnet', checkout / 'configs/irnet2')
    with pytest.raises(UserError, match=r'model-index\.yml: lacks configs/irnet2/metafile\.yml'):
        check_metafiles(checkout)


def test_learning_rates_are_for_the_batch_of_the_config(configs):
    for name, cfg in configs.items():
        assert cfg.auto_scale_lr == dict(base_batch_size=cfg.train_dataloader.batch_size, enable=False), name

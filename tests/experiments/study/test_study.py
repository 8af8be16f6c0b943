import gc
import hashlib
import json
import statistics
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner

from mmwsss.apis import runner
from mmwsss.engine.hooks import ProgressHook
from mmwsss.experiments.study.run_study import run_study
from mmwsss.experiments.study.study import Study
from mmwsss.experiments.study.study_dir import StudyDir
from mmwsss.utils.errors import EXIT_DONE, EXIT_SKIPPED, UserError


@pytest.fixture(scope='module')
def real(tmp_path_factory, study_file, generated_root):
    """A study of one seed that was interrupted in the second epoch, and then finished but for a row."""
    work = tmp_path_factory.mktemp('real')
    options = {'seeds': (3,), 'rows.0.tests': ('scale1',), 'rows.1.seeds': (3,), 'rows.2.crf': 'softmax'}
    count = SimpleNamespace(interrupted=0, resumed=0, alive=[])

    def stop(self, runner, batch_idx, *_, **__):
        count.interrupted += 1
        if runner.epoch == 1 and batch_idx == 1:
            raise InterruptedError('stopped by the test')

    def go_on(self, *_, **__):
        count.resumed += 1

    def counting(function):
        def run(*args, **kwargs):
            count.alive.append(sum(type(thing) is Runner for thing in gc.get_objects()))
            return function(*args, **kwargs)
        return run

    with pytest.MonkeyPatch.context() as patch:
        # Most of the time of runs so small goes into laying out their configs and asking for compilers.
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))
        patch.setattr('mmengine.runner.runner.collect_env', dict)
        patch.setattr(ProgressHook, 'after_train_iter', stop)
        with pytest.raises(InterruptedError):
            Study(study_file, generated_root, work, cfg_options=options).run(['baseline'])
        patch.setattr(ProgressHook, 'after_train_iter', go_on)
        patch.setattr(runner, 'train', counting(runner.train))
        patch.setattr(runner, 'test', counting(runner.test))
        assert Study(study_file, generated_root, work, cfg_options=options).run(['baseline', 'no flip']) == EXIT_DONE
    return SimpleNamespace(work=work, count=count)


def read(path):
    return json.loads(path.read_text())


def test_interrupted_training_goes_on(real):
    folder, = real.work.glob('baseline/seed3/train_*')
    assert (real.count.interrupted, real.count.resumed) == (5, 3), 'only the second epoch is trained again'
    done = read(folder / 'complete.json')
    assert done['checkpoint'] == 'epoch_2.pth' and done['epochs'] == 2
    assert done['checkpoint_sha256'] == hashlib.sha256((folder / 'epoch_2.pth').read_bytes()).hexdigest()
    times = done['times']
    assert times['iterations'] == 6 and 0 < times['seconds_per_iteration'] < times['seconds']
    assert 'seed=3' in torch.load(folder / 'epoch_2.pth', weights_only=True)['meta']['cfg']


def test_no_runner_outlives_its_run(real):
    assert real.count.alive == [0, 0, 0]


def test_an_entry_states_its_setting_and_its_cost(real, generated_root):
    entry = read(real.work / 'no_flip/seed3/scale1.json')
    assert (entry['row'], entry['seed'], entry['test']) == ('no flip', 3, 'scale1')
    metrics, setting = entry['metrics'], entry['setting']
    assert set(metrics['per_class']) == {'background', *(generated_root / 'classes.txt').read_text().split()}
    assert metrics['oracle_threshold'] and metrics['num_images'] == setting['num_images'] == 5
    assert 'curve' not in metrics and 'curve' in read(real.work / 'no_flip/seed3/scale1_logs/report.json')
    assert 0 <= metrics['mIoU'] <= 1 and {'threshold', 'm_FN', 'm_FP', 'precision', 'recall'} <= set(metrics)
    assert setting['class_filter'] == 'label' and setting['epochs'] == 2 and setting['checkpoint_of'] == 'baseline'
    assert setting['threads'] == torch.get_num_threads() and setting['device'] and setting['version']
    assert setting['cfg_options'][0]['train_cfg.max_epochs'] == 2
    assert setting['test_options'] == [{'model.inference_hooks': [dict(type='MultiScaleFlip', scales=[1.0],
                                                                       flip=False)]},
                                       {'model.inference_hooks.0.scales': [1.0]}]
    folder, = real.work.glob('baseline/seed3/train_*')
    assert setting['checkpoint_sha256'] == read(folder / 'complete.json')['checkpoint_sha256']
    assert setting['train_key'].startswith(folder.name.removeprefix('train_'))
    assert entry['testing']['seconds_per_image'] == pytest.approx(entry['testing']['seconds'] / 5)
    flipped = read(real.work / 'baseline/seed3/scale1.json')
    assert flipped['setting']['config_hash'] != setting['config_hash']


def test_a_row_with_crf(real, generated_root):
    """The figure is that of mmwsss eval --crf for the CAM files, of which nothing is left."""
    entry = read(real.work / 'no_flip/seed3/scale1.json')
    found = entry['metrics']['with_crf']
    assert found['crf'] == 'softmax' and 0 < found['mIoU'] < 1 and set(found['by_num_classes']) == {'1', '2', '3+'}
    assert not list(real.work.rglob('cams'))
    assert 'with_crf' not in read(real.work / 'baseline/seed3/scale1.json')['metrics']
    text = (real.work / 'results.md').read_text()
    assert 'with CRF %' in text and f' {100 * found["mIoU"]:.2f} |' in text


def test_a_crf_that_is_asked_for_later_tests_again(make, fake):
    make().run(rows=['+ER'])
    fake.pop()
    study = make(**{'rows.1.crf': 'label'})
    assert study.entry(study.config.rows['+ER'], 1, 'scale1') is None


def test_the_images_evaluated_are_spread_over_the_split(real, generated_root):
    stems = (generated_root / 'ImageSets/train.txt').read_text().split()
    assert (real.work / 'train_5.txt').read_text().split() == [stems[i] for i in (0, 2, 4, 7, 9)]


def test_the_table_has_every_row(real):
    text = (real.work / 'results.md').read_text()
    lines = [line for line in text.splitlines() if line.startswith('|')]
    assert len(lines) == 2 + 3 and '0 of 1' in lines[3] and 'run the same command again' in text
    one, two = (read(real.work / name / 'seed3/scale1.json')['metrics']['mIoU'] for name in ('baseline', 'no_flip'))
    assert f' {100 * one:.2f} |' in lines[2] and lines[2].rstrip(' |').endswith('1.00 x')
    other = read(real.work / 'results.json')['lines'][2]
    assert other['row'] == 'no flip' and other['train_step_ratio'] is None
    assert other['mIoU'] == dict(mean=two, std=None) and other['difference'] == pytest.approx(two - one)


BASELINE, OWN = [('baseline', 0), ('baseline', 1)], ('+ER', 'seed1')


def test_everything_is_done_once(make, fake):
    assert make().run() == EXIT_DONE
    trained, tested = fake.pop()
    assert trained == [*BASELINE, ('+ER', 1)]
    assert tested == [('baseline', 0, 'scale1', ('baseline', 'seed0')), ('baseline', 0, 'multi', ('baseline', 'seed0')),
                      ('baseline', 1, 'scale1', ('baseline', 'seed1')), ('baseline', 1, 'multi', ('baseline', 'seed1')),
                      ('+ER', 1, 'scale1', OWN), ('no_flip', 0, 'scale1', ('baseline', 'seed0')),
                      ('no_flip', 1, 'scale1', ('baseline', 'seed1'))]
    assert make().run() == EXIT_DONE
    assert fake.pop() == ([], [])


def test_a_second_run_in_the_folder_is_refused(make, fake, study_file, generated_root, tmp_path, capsys):
    make().run(rows=['+ER'])
    fake.pop()
    with StudyDir(tmp_path / 'work').lock.held():
        with pytest.raises(UserError, match=r'is at work there; .*another --work-dir'):
            make().run()
        with pytest.raises(UserError, match='is at work there'):
            run_study(study_file, generated_root, tmp_path / 'work')
        assert fake.pop() == ([], []) and not (tmp_path / 'work/study.log').exists()
        # What is there can be looked at all the same.
        assert run_study(study_file, generated_root, tmp_path / 'work', report_only=True) == EXIT_DONE
    assert '+ER' in capsys.readouterr().out


def test_a_row_trains_the_row_whose_checkpoints_it_tests(make, fake):
    make().run(rows=['no flip'], seeds=[1])
    assert fake.pop() == ([('baseline', 1)], [('no_flip', 1, 'scale1', ('baseline', 'seed1'))])
    make().run(rows=['baseline'])
    assert fake.pop()[0] == [('baseline', 0)]


def test_a_changed_option_redoes_its_row_alone(make, fake, tmp_path):
    make().run()
    fake.pop()
    make(**{'rows.1.cfg_options.train_dataloader.batch_size': 2}).run()
    assert fake.pop() == ([('+ER', 1)], [('+ER', 1, 'scale1', OWN)])
    make(**{'tests.multi.model.test_cfg.stride': 1, 'rows.1.cfg_options.train_dataloader.batch_size': 2}).run()
    assert fake.pop() == ([], [('baseline', seed, 'multi', ('baseline', f'seed{seed}')) for seed in (0, 1)])
    # The first training of the row is still there, only its test was overwritten.
    make().run(rows=['+ER'])
    assert fake.pop() == ([], [('+ER', 1, 'scale1', OWN)])


def test_changed_data_redoes_what_read_it(make, fake, generated_copy):
    make(generated_copy).run()
    fake.pop()
    stems = (generated_copy / 'ImageSets/train.txt').read_text().split()
    mask = generated_copy / f'SegmentationClass/{stems[0]}.png'
    mask.touch()
    make(generated_copy).run()
    assert fake.pop() == ([], []), 'the time of a file does not count'
    mask.write_bytes(mask.read_bytes() + b'\0')  # readers stop at the end of the picture
    make(generated_copy).run()
    trained, tested = fake.pop()
    assert trained == [] and len(tested) == 7
    image = generated_copy / f'JPEGImages/{stems[1]}.jpg'  # not among those that are evaluated
    image.write_bytes(image.read_bytes() + b'\0')
    make(generated_copy).run()
    trained, tested = fake.pop()
    assert len(trained) == 3 and len(tested) == 7


def test_results_count_without_the_checkpoint_but_not_with_another(make, fake, tmp_path):
    make().run(rows=['+ER'])
    checkpoint, = (tmp_path / 'work/+ER').glob('*/*/epoch_2.pth')
    checkpoint.unlink()
    fake.pop()
    make().run(rows=['+ER'])
    assert fake.pop() == ([], [])
    (tmp_path / 'work/+ER/seed1/scale1.json').write_text('{')  # as a full disk would leave it
    make().run(rows=['+ER'])
    assert fake.pop() == ([('+ER', 1)], [('+ER', 1, 'scale1', OWN)])
    (tmp_path / 'work/+ER/seed1/scale1.json').unlink()
    checkpoint.write_text('of something else')
    with pytest.raises(UserError, match=r'row \+ER, seed 1: .*epoch_2.pth: has changed since the training; delete'):
        make().run(rows=['+ER'])


def test_a_training_that_was_done_again_is_tested_again(make, fake, tmp_path):
    make().run(rows=['baseline'], seeds=[0])
    fake.pop()
    folder, = (tmp_path / 'work/baseline/seed0').glob('train_*')
    (folder / 'epoch_2.pth').unlink()
    (folder / 'complete.json').unlink()
    (tmp_path / 'work/baseline/seed0/multi.json').unlink()
    make().run(rows=['baseline'], seeds=[0])
    trained, tested = fake.pop()
    assert trained == [('baseline', 0)] and [test for _, _, test, _ in tested] == ['scale1', 'multi']


@pytest.mark.parametrize('error', [UserError('f.jpg: broken'), KeyError('x')])
def test_a_row_that_fails_is_named_and_the_others_are_kept(make, fake, tmp_path, capsys, error):
    fake.fail = error
    with pytest.raises(type(error)) as caught:
        make().run()
    assert r'row +ER, seed 1' in f'{caught.value} {capsys.readouterr().err}'
    assert len(fake.pop()[1]) == 4
    assert '1 of 1' not in (tmp_path / 'work/results.md').read_text()
    fake.fail = None
    make().run()
    assert fake.pop()[0] == [('+ER', 1)]


def test_skipped_files_are_said_every_time(make, fake, capsys):
    fake.skipped = [('a.jpg', 'unreadable')]
    for _ in range(2):
        assert make().run(rows=['+ER']) == EXIT_SKIPPED
        assert '1 files left out, e.g. a.jpg: unreadable' in capsys.readouterr().err


def test_threads_of_one_row_are_not_those_of_the_next(make, fake, tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        make(**{'rows.0.cfg_options.num_threads': 2, 'rows.0.seeds': (0,), 'rows.2.seeds': (0,)}).run()
        assert read(tmp_path / 'work/+ER/seed1/scale1.json')['setting']['threads'] == 1
    finally:
        torch.set_num_threads(before)


def test_mean_and_spread_over_the_seeds(make, fake, tmp_path):
    make().run()
    lines = read(tmp_path / 'work/results.json')['lines']
    baseline, _, er, no_flip = lines
    assert baseline['mIoU']['mean'] == pytest.approx(0.45)
    assert baseline['mIoU']['std'] == pytest.approx(statistics.stdev([0.4, 0.5]))
    assert er['mIoU'] == dict(mean=pytest.approx(0.5), std=None)
    assert er['difference'] == pytest.approx(0), 'seed 1 is compared with seed 1'
    assert no_flip['difference'] == pytest.approx(0) and no_flip['train_step_ratio'] is None
    assert er['train_seconds_per_iteration'] == pytest.approx(0.2), 'the median'
    assert er['seconds_per_image'] == pytest.approx(1.2 / 5)
    assert '45.00 ± 7.07' in (tmp_path / 'work/results.md').read_text()


def test_segmentors_are_evaluated_too(fake, generated_root, repo_root, tmp_path, capsys):
    (tmp_path / 'seg.py').write_text(f'''
configs = dict(seg='{repo_root}/configs/segmentation/deeplab_efflite0_small.py')
split, seeds, num_images, cfg_options = 'val', (0, 1), 2, {{'train_dataloader.batch_size': 4}}
rows = [dict(name='plain', config='seg'), dict(name='slow', config='seg', cfg_options={{'train_cfg.max_epochs': 2}})]
''')
    with pytest.raises(UserError, match=r'row plain, seed 0: .*are the ground truth masks'):
        Study(tmp_path / 'seg.py', generated_root, tmp_path / 'work').run(['plain'])
    assert fake.pop() == ([], [])  # before anything was trained
    with open(tmp_path / 'seg.py', 'a') as file:
        file.write("cfg_options['full_supervision'] = True\n")
    # No threshold was chosen, which the rows that are not done yet do not change.
    assert Study(tmp_path / 'seg.py', generated_root, tmp_path / 'work').run(['plain']) == EXIT_DONE
    assert 'oracle' not in capsys.readouterr().out and 'oracle' not in (tmp_path / 'work/results.md').read_text()
    study = Study(tmp_path / 'seg.py', generated_root, tmp_path / 'work')
    assert study.run() == EXIT_DONE
    results = json.loads((tmp_path / 'work/results.json').read_text())
    assert [line['mIoU']['mean'] for line in results['lines']] == [pytest.approx(0.305)] * 2
    text = (tmp_path / 'work/results.md').read_text()
    assert 'Evaluated on 2 images of val.' in text and 'oracle' not in text and '30.50 ± 0.71' in text
    assert [line['per_class'] for line in results['lines']] == [dict(background=0.6, cat=pytest.approx(0.01))] * 2
    assert '| cat 1.0 |' in ' '.join(text.split())
    assert json.loads((tmp_path / 'work/plain/seed0/test.json').read_text())['setting']['num_images'] == 2


@pytest.mark.parametrize(('arguments', 'word'), [(dict(rows=['x']), r'--rows x: the study has baseline, \+ER, no flip'),
                                                 (dict(seeds=[5]), '--seeds 5: the study has 0, 1')])
def test_unknown_rows_and_seeds(make, fake, arguments, word):
    with pytest.raises(UserError, match=word):
        make().run(**arguments)


def test_weights_of_a_second_network_are_looked_for_at_once(make, fake, tmp_path):
    network = dict(type='ResNet', depth=18, init_cfg=dict(type='StrictPretrained', checkpoint=str(tmp_path / 'no.pth')))
    hooks = [dict(type='ExternalFeatures', backbone=network, hook=dict(type='SSA'))]
    with pytest.raises(UserError, match=r'row no flip, seed 0: .*no\.pth: no such file of weights'):
        make(**{'rows.2.test_options': {'model.inference_hooks': hooks}}).run()
    assert fake.pop() == ([], [])


def test_wrong_settings_of_any_row_show_at_once(make, generated_copy):
    with pytest.raises(UserError, match=r'row \+ER, seed 1: .*optim_wraper'):
        make(**{'rows.1.cfg_options.optim_wraper.type': 'x'})
    with pytest.raises(UserError, match=r'row baseline, seed 0: .*nothing\.py: no such config'):
        make(**{'configs.cam': 'nothing.py'})
    for mask in (generated_copy / 'SegmentationClass').iterdir():
        mask.unlink()
    with pytest.raises(UserError, match=r'row baseline, seed 0: .*no image is left'):
        make(generated_copy).run()


def test_a_folder_with_a_label_file(make, fake, csv_folder):
    first = (csv_folder / 'classes.txt').read_text().split()[0]
    with open(csv_folder / 'labels.csv', 'a') as file:
        file.write(f'train_00004.jpg,{first}\n')
    study = make(csv_folder)
    cfg = study.config.train_config(study.config.rows['baseline'], 0)
    assert cfg.train_dataloader.dataset.type == 'ImageLabelDataset'
    assert study.run() == EXIT_DONE
    assert [len(done) for done in fake.pop()] == [3, 7]
    assert make(csv_folder).run() == EXIT_DONE and fake.pop() == ([], [])


def test_what_a_training_needs_is_checked_before_the_first(make, fake, generated_copy):
    study = make(generated_copy, **{'cfg_options.+ER.train_dataloader.batch_size': 13})
    with pytest.raises(UserError, match=r'row \+ER, seed 1: .*less than one batch of 13; give --cfg-options '
                                        r'cfg_options\.\+ER\.train_dataloader\.batch_size=12'):
        study.run()
    assert fake.pop() == ([], [])
    study.run(['baseline'])
    assert [name for name, _ in fake.pop()[0]] == ['baseline', 'baseline']

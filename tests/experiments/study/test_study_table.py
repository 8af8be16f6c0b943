import json
import math

import pytest

from mmwsss.experiments.study.study_table import HEADER, study_lines, study_markdown


def entry(miou, step=0.5, image=0.1, source=None, m_fn=0.3, **setting):
    return dict(
        metrics=dict(mIoU=miou, m_FN=m_fn, m_FP=0.4, precision=0.625, recall=0.75, threshold=0.25),
        training=dict(seconds_per_iteration=step), testing=dict(seconds_per_image=image),
        setting=dict(dict(checkpoint_of=source, num_images=300, split='train', class_filter='label', version='0.2',
                          device='cpu', threads=2), **setting))


ENTRIES = {
    ('base', 'one', 0): entry(0.40, step=1.0, image=0.1), ('base', 'one', 1): entry(0.46, step=3.0, image=0.2),
    ('base', 'one', 2): entry(0.49, step=2.0, image=0.6), ('base', 'four', 0): entry(0.5, step=1.0),
    ('+ER', 'one', 1): entry(0.48, step=4.5, m_fn=None), ('+ER', 'one', 2): entry(0.53, step=3.0),
    ('SSA | 4', 'one', 0): entry(0.41, step=1.0, source='base'), ('new', 'one', 7): entry(0.3, step=None),
}
TESTS = [('base', 'one', (0, 1, 2), 'base'), ('base', 'four', (0, 1), 'base'), ('+ER', 'one', (1, 2), 'base'),
         ('SSA | 4', 'one', (0,), 'base'), ('new', 'one', (7,), 'base'), ('later', 'one', (0, 1), 'base')]


@pytest.fixture
def lines():
    return study_lines(TESTS, ENTRIES, 'base')


def test_mean_and_standard_deviation_of_the_seeds(lines):
    base = lines[0]
    assert base['mIoU']['mean'] == pytest.approx((0.40 + 0.46 + 0.49) / 3)
    # (0.05^2 + 0.01^2 + 0.04^2) / 2
    assert base['mIoU']['std'] == pytest.approx(math.sqrt(0.0042 / 2))
    assert base['seconds_per_image'] == pytest.approx(0.3) and base['train_seconds_per_iteration'] == pytest.approx(2)
    assert lines[1]['mIoU'] == dict(mean=0.5, std=None)
    assert (lines[1]['seeds'], lines[1]['planned_seeds']) == ([0], [0, 1])
    assert lines[2]['m_FN'] == pytest.approx(0.3), 'the seed that has one'


def test_differences_are_over_common_seeds_and_of_one_test(lines):
    _, four, er, ssa, new, later = lines
    assert er['difference'] == pytest.approx((0.48 + 0.53) / 2 - (0.46 + 0.49) / 2)
    assert er['train_step_ratio'] == pytest.approx((4.5 + 3) / (3 + 2))
    assert ssa['difference'] == pytest.approx(0.01)
    assert ssa['train_step_ratio'] is None and ssa['train_seconds_per_iteration'] is None
    assert four['difference'] == 0 and four['train_step_ratio'] == 1
    assert new['difference'] is None and new['train_step_ratio'] is None
    assert later['mIoU'] == dict(mean=None, std=None) and later['seeds'] == []
    assert json.loads(json.dumps(lines)) == lines


def test_markdown_lines_up_and_labels_the_oracle(lines):
    text = study_markdown(lines, list(ENTRIES.values()), 'base', 'study on data')
    table = [line for line in text.splitlines() if line.startswith('|')]
    assert text.startswith('## study on data\n') and len(table) == 2 + len(TESTS)
    assert len({len(line) for line in table}) == 1
    rows = [[cell.strip() for cell in line.replace(r'\|', '/').strip('|').split('|')] for line in table]
    assert tuple(rows[0]) == HEADER and 'mIoU % (oracle)' in HEADER and 'Threshold (oracle)' in HEADER
    assert rows[2] == ['base', 'one', '3', '45.00 ± 4.58', '', '-', '0.300', '0.400', '62.50', '75.00', '0.25', '-',
                       '0.300', '1.00 x']
    assert rows[3][:4] == ['', 'four', '1 of 2', '50.00']
    assert rows[4][:5] == ['+ER', 'one', '2', '50.50 ± 3.54', '+3.00'] and rows[4][-1] == '1.50 x'
    assert rows[5][0] == 'SSA / 4' and rows[5][-1] == '-'
    assert rows[7][2:5] == ['0 of 2', '-', '-']
    assert '300 images of train, classes chosen by label' in text and 'chosen on the ground truth (oracle)' in text
    assert 'cannot be compared' not in text and 'run the same command again' in text


def test_by_number_of_classes():
    entries = {('base', 'one', seed): dict(entry(0.4), metrics=dict(entry(0.4)['metrics'], by_num_classes=found))
               for seed, found in enumerate([{'1': 0.5, '2': 0.25, '3+': None}, {'1': 0.6, '2': None, '3+': None}])}
    line, = study_lines([('base', 'one', (0, 1), 'base')], entries, 'base')
    assert line['by_num_classes'] == {'1': pytest.approx(0.55), '2': 0.25, '3+': None}
    assert '55.0 / 25.0 / -' in study_markdown([line], list(entries.values()), 'base', 'study')


def test_a_class_that_is_lost_is_named():
    per_class = [dict(background=.7, cat=.5, dog=0.), dict(background=.7, cat=None, dog=.02)]
    entries = {('base', 'one', seed): dict(entry(0.4), metrics=dict(entry(0.4)['metrics'], per_class=found))
               for seed, found in enumerate(per_class)}
    line, = study_lines([('base', 'one', (0, 1), 'base')], entries, 'base')
    assert line['per_class'] == dict(background=pytest.approx(.7), cat=.5, dog=pytest.approx(.01))
    assert '| dog 1.0 |' in ' '.join(study_markdown([line], list(entries.values()), 'base', 'study').split())


def test_a_row_may_be_compared_with_another_than_the_baseline():
    tests = [('base', 'one', (0,), 'base'), ('SSA | 4', 'one', (0,), 'SSA | 4'), ('+ER', 'one', (1,), 'SSA'),
             ('SSA', 'one', (1,), 'base')]
    entries = dict(ENTRIES) | {('SSA', 'one', 1): entry(0.51, source='base')}
    lines = study_lines(tests, entries, 'base')
    assert lines[2]['difference'] == pytest.approx(0.48 - 0.51) and lines[2]['compared_with'] == 'SSA'
    assert lines[2]['train_step_ratio'] == pytest.approx(1.5), 'steps are compared with those of the baseline'
    assert lines[3]['difference'] == pytest.approx(0.51 - 0.46)
    text = study_markdown(lines, list(entries.values()), 'base', 'study')
    assert '- +ER: the difference is to SSA.' in text and text.count('the difference is to') == 1
    assert [line.split('|')[5].strip() for line in text.splitlines()[4:8:3]] == ['', '+5.00']


def test_markdown_says_when_times_cannot_be_compared():
    entries = {('base', 'one', 0): entry(0.4), ('base', 'one', 1): entry(0.4, threads=1)}
    lines = study_lines([('base', 'one', (0, 1), 'base')], entries, 'base')
    text = study_markdown(lines, list(entries.values()), 'base', 'study')
    assert 'threads: 1, 2.' in text and 'cannot be compared' in text and 'run the same command' not in text
    assert 'no results yet' in study_markdown(study_lines(TESTS, {}, 'base'), [], 'base', 'study')


def test_mean_and_deviation_over_the_tests_of_a_row():
    """Table 5 of RCM + MAM: 46.0 +- 3.4 of its baseline, whose deviation is that with n."""
    scales = {'0.5': 0.402, '1': 0.470, '1.5': 0.490, '2': 0.479}
    entries = {('base', scale, 0): entry(miou) for scale, miou in scales.items()}
    entries |= {('ours', scale, 0): entry(miou) for scale, miou in zip(scales, (0.608, 0.628, 0.617, 0.597))}
    entries['base', '2', 1] = entry(0.9)  # a seed that has not all tests does not count
    tests = [(row, scale, (0, 1), 'base') for row in ('base', 'ours') for scale in scales]
    lines = study_lines(tests, entries, 'base', over_tests=['base', 'ours'])
    assert [line['test'] for line in lines] == [*scales, 'over 4 tests'] * 2
    base, ours = lines[4], lines[9]
    assert (round(100 * base['mIoU']['mean'], 1), round(100 * base['mIoU']['std'], 1)) == (46.0, 3.4)
    assert ours['mIoU'] == dict(mean=pytest.approx(0.6125), std=pytest.approx(0.011, abs=5e-4))
    assert base['seeds'] == [0] and ours['difference'] == pytest.approx(0.6125 - 0.46025)
    text = study_markdown(lines, list(entries.values()), 'base', 'study')
    assert ' ± 3.44 ' in text and 'standard deviation (n) of mIoU over the tests' in text
    assert json.loads(json.dumps(lines)) == lines


def test_column_with_crf():
    refined = [dict(entry(0.4), metrics=dict(entry(0.4)['metrics'], with_crf=dict(crf='softmax', mIoU=miou)))
               for miou in (0.5, 0.52)]
    entries = {('base', 'one', 0): refined[0], ('base', 'one', 1): refined[1], ('ER', 'one', 0): entry(0.42)}
    tests = [('base', 'one', (0, 1), 'base'), ('ER', 'one', (0,), 'base')]
    lines = study_lines(tests, entries, 'base')
    assert [line['with_crf'] for line in lines] == [pytest.approx(0.51), None]
    text = study_markdown(lines, list(entries.values()), 'base', 'study')
    header, _, first, second = ([cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines()
                                if line.startswith('|'))
    assert [row[3:5] for row in (header, first, second)] == [
        ['mIoU % (oracle)', 'with CRF %'], ['40.00 ± 0.00', '51.00'], ['42.00', '-']]
    assert len(header) == len(HEADER) + 1 == len(first) and 'mIoU with a dense CRF' in text
    assert 'with CRF' not in study_markdown(lines[1:], [entry(0.42)], 'ER', 'study')

import numpy as np
import pytest

from mmwsss.experiments.table_text import (
    duration_text,
    markdown_table,
    mean,
    number_form,
    optional_text,
    spread_text,
    std,
)


def test_mean_and_standard_deviation_against_numpy():
    values = np.random.default_rng(0).normal(50, 3, 7)
    some = [None, *values.tolist(), None]
    assert mean(some) == pytest.approx(np.mean(values)) and std(some) == pytest.approx(np.std(values, ddof=1))
    assert mean([None, 4.]) == 4 and std([None, 4.]) is None
    assert mean(value for value in ()) is None and std([]) is None


@pytest.mark.parametrize(('value', 'unit', 'text'), [
    (47.123, '%', '47.1'), (47, '%', '47.0'), (12345, '', '12345'), (.31416, '', '0.3142'), (999.94, 's', '999.9'),
    (12345.6, '', '12346')])
def test_figures(value, unit, text):
    assert f'{value:{number_form(value, unit)}}' == text


def test_spread():
    assert number_form(47.123, '%', percent_digits=2) == '.2f'
    assert optional_text(None, '.2f') == '-' and optional_text(.25, '+.1f', 100) == '+25.0'
    assert spread_text(.4725, .00512, '.2f', 100) == '47.25 ± 0.51'
    assert spread_text(2., None, '.1f') == '2.0' and spread_text(None, None, '.1f') == '-'


@pytest.mark.parametrize(('seconds', 'text'), [
    (.04, '0.0 s'), (5, '5.0 s'), (59.94, '59.9 s'), (84.2, '1 min 24 s'), (119.6, '2 min 00 s'),
    (3700, '1 h 01 min'), (7199.6, '2 h 00 min')])
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_markdown_lines_up_and_keeps_cells_apart():
    text = markdown_table(('Name', 'n'), [('a | b\nc', '1'), ('d', '10')], 'lr')
    assert text.splitlines() == [
        '| Name     |   n |', '| -------- | --: |', r'| a \| b c |   1 |', '| d        |  10 |']
    assert markdown_table(('n',), [], 'r') == '|   n |\n| --: |'

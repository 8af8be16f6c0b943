import io
import json

import pytest
from rich.console import Console

from mmwsss.experiments.results_table import results_json, results_markdown, results_table

ROWS = [
    dict(stage='train_cam', metric='', value=None, seconds=84.2, reused=True),
    dict(stage='eval_cam', metric='mIoU', value=47.123, unit='%', note='train, threshold 0.23', oracle=True, seconds=5,
         reused=False),
    dict(stage='eval_cam', metric='m_FN', value=.31415, unit='', note='train', seconds=5, reused=False),
    dict(stage='eval [crf]', metric='mIoU', value=None, unit='%', note='no masks | none', seconds=3700),
    dict(stage='count', metric='images', value=12345, seconds=.04),
    dict(stage='broken', metric='loss', value=float('nan')),
]


def render(rows, title=None) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(results_table(rows, title=title))
    return console.file.getvalue()


def line_of(text: str, word: str) -> str:
    lines = [line for line in text.splitlines() if word in line]
    assert len(lines) == 1, text
    return lines[0]


@pytest.mark.parametrize('draw', [render, results_markdown])
def test_both_tables_say_the_same(draw):
    text = draw(ROWS, 'voc [8]')
    assert 'voc [8]' in text
    assert '47.1 % (oracle)' in line_of(text, 'eval_cam')
    assert 'threshold 0.23' in line_of(text, 'eval_cam') and '5.0 s' in line_of(text, 'eval_cam')
    assert '0.3141' in line_of(text, 'm_FN') and 'oracle' not in line_of(text, 'm_FN')
    assert 's' not in line_of(text, 'm_FN').split('0.3141')[1], 'the time of a stage is shown once'
    assert '1 min 24 s' in line_of(text, 'train_cam') and 'reused from an earlier run' in line_of(text, 'train_cam')
    crf = line_of(text, 'eval [crf]')
    assert ' - ' in crf and 'no masks' in crf and '1 h 01 min' in crf
    assert '12345' in line_of(text, 'images')
    assert 'nan' not in text
    assert '1 h 03 min' in line_of(text, 'all stages')


def test_markdown_has_one_column_count():
    lines = results_markdown(ROWS).strip().splitlines()
    assert len(lines) == 2 + len(ROWS) + 1
    assert {line.replace(r'\|', '').count('|') for line in lines} == {6}


def test_json_is_plain_and_complete():
    content = results_json(ROWS)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content['seconds'] == pytest.approx(84.2 + 5 + 3700 + .04)
    assert [row['oracle'] for row in content['rows']] == [False, True, False, False, False, False]
    assert content['rows'][1]['value'] == 47.123 and content['rows'][1]['unit'] == '%'
    assert content['rows'][5]['value'] is None and content['rows'][5]['seconds'] is None
    assert len({tuple(row) for row in content['rows']}) == 1


def test_no_rows():
    assert results_json([]) == dict(rows=[], seconds=0.)
    assert 'all stages' in render([]) and 'all stages' in results_markdown([])


@pytest.mark.parametrize('row', [dict(metric='mIoU', value=1.), dict(stage='a', valu=1.)])
def test_malformed_row(row):
    for function in (results_table, results_markdown, results_json):
        with pytest.raises(ValueError, match='a row needs a stage'):
            function([row])

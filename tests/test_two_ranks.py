import pytest
import torch
from two_ranks import run_script

SCRIPT = '''
import sys, torch
folder = sys.argv[1]
if folder.endswith('attempt0'):
    print('waits', flush=True)
    {first}
for rank in range(2):
    torch.save({{'rank': torch.tensor(rank)}}, f'{{folder}}/rank{{rank}}.pth')
'''
ALONE = '''
import sys, torch
from two_ranks import group
with group(0, sys.argv[1], seconds=1):
    pass
'''


def test_ranks_that_wait_in_vain_are_started_again_and_said(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT.format(first='sys.exit("Timed out")'))
    with pytest.warns(UserWarning, match='waited for each other in vain[^$]*waits'):
        ranks = run_script(script, tmp_path)
    assert ranks == [{'rank': torch.tensor(0)}, {'rank': torch.tensor(1)}]


def test_ranks_that_hang_are_ended(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text('import time\ntime.sleep(600)')
    with pytest.raises(AssertionError, match='exit code None'):
        run_script(script, tmp_path, seconds=1, attempts=1)


def test_a_failure_is_one_at_once(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT.format(first='assert 1 == 2'))
    with pytest.raises(AssertionError, match=r'exit code 1\n[^$]*assert 1 == 2'):
        run_script(script, tmp_path)
    assert not (tmp_path / 'attempt1').exists()


def test_a_rank_without_its_partner_does_not_hang(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(ALONE)
    with pytest.raises(AssertionError, match=r'exit code 1\n[^$]*[Tt]imed? ?out'):
        run_script(script, tmp_path, seconds=60, attempts=1)

import subprocess
import sys

import pytest

COUNT_FAULTS = '''
import resource, sys, torch
from mmwsss.utils.memory import keep_freed_memory
if sys.argv[1] == 'keep':
    assert keep_freed_memory()
torch.set_num_threads(1)
for _ in range(20):
    torch.ones(16, 1024, 1024)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(16, 1024, 1024)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
'''


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='the settings are those of glibc')
def test_large_tensors_reuse_their_pages(repo_root):
    def faults(mode):
        done = subprocess.run([sys.executable, '-W', 'ignore', '-c', COUNT_FAULTS, mode], capture_output=True,
                              text=True, cwd=repo_root, check=True)
        return int(done.stdout.split()[-1])
    # A tensor of 64 MiB has 16,384 pages of 4 KiB, or 32 huge ones.
    assert 4 * faults('keep') < faults('leave')


def test_other_systems_are_left_alone(monkeypatch):
    from mmwsss.utils.memory import keep_freed_memory
    monkeypatch.setattr(sys, 'platform', 'darwin')
    assert keep_freed_memory() is False


RELEASE = """
import gc, torch
from mmwsss.utils.memory import keep_freed_memory, release_memory, sparing_memory

def resident():
    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmRSS')) >> 10

gc.disable()
assert keep_freed_memory()
sizes = [resident()]
tensors = [torch.ones(4, 1024, 1024) for _ in range(8)]  # 128 MB
tensors.append(tensors)  # as a Runner and its loops
del tensors
sizes.append(resident())
release_memory()
sizes.append(resident())
with sparing_memory():
    assert not keep_freed_memory()
    torch.ones(32, 1024, 1024)
    sizes.append(resident())
assert keep_freed_memory()
torch.ones(32, 1024, 1024)
sizes.append(resident())
print(*(size - sizes[0] for size in sizes))
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='the settings are those of glibc')
def test_memory_is_given_back_between_runs(repo_root):
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', RELEASE], capture_output=True, text=True,
                          cwd=repo_root, check=True)
    _, kept, released, sparing, kept_again = map(int, done.stdout.split())
    assert kept > 100 and kept_again > 100, done.stdout
    assert released < 40 and sparing < 40, done.stdout

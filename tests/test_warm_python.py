"""What a warm Python runs sees and leaves what it would in a new interpreter."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from processes import is_alive
from warm_python import warm_python

REPORT = '''
import json, os, sys, multiprocessing, warnings
main = sys.modules['__main__']
print(json.dumps([sys.argv, sys.path[:2], os.getcwd(), dict(os.environ), main.__name__, globals() is vars(main),
                  getattr(main, '__file__', None), multiprocessing.process.ORIGINAL_DIR, sys.stdin.read(),
                  sys.stdout.line_buffering, sys.stdout.write_through, sys.stderr.line_buffering,
                  os.path.samefile(sys.executable, PYTHON), sorted(map(int, os.listdir('/proc/self/fd')))[:3]]))
print('said', file=sys.stderr)
warnings.warn('careful', UserWarning)
sys.exit(5)
'''.replace('PYTHON', repr(sys.executable))


@pytest.fixture(params=['new', 'warm'])
def python(request):
    return sys.executable if request.param == 'new' else warm_python()


@pytest.fixture(autouse=True)
def _is_there():
    if warm_python() == sys.executable:  # not asked when tests are collected, which would start it
        pytest.skip('there is none here')


def both(*arguments, folder, **environment):
    """What a new interpreter and a warm one do: exit code, stdout and stderr."""
    variables = dict(PATH=os.environ['PATH'], OMP_NUM_THREADS='1', **environment)
    return [subprocess.run([python, *map(str, arguments)], input='typed', capture_output=True, text=True, timeout=60,
                           cwd=folder, env=variables) for python in (sys.executable, warm_python())]


@pytest.mark.parametrize('arguments', [
    ['scripts/report.py', 'a', '-b'], ['-m', 'report', 'a'], ['-c', REPORT, 'a b'], ['-u', 'scripts/report.py'],
    ['-W', 'ignore', 'scripts/report.py'], ['-I', '-c', REPORT]])
def test_a_program_sees_what_it_would_in_a_new_interpreter(arguments, tmp_path):
    (tmp_path / 'scripts').mkdir()
    for name in ('scripts/report.py', 'report.py'):
        (tmp_path / name).write_text(REPORT)
    new, warm = both(*arguments, folder=tmp_path, PYTHONPATH=f'{tmp_path}/scripts', ONLY_HERE='\u00e9')
    assert new.returncode == warm.returncode == 5
    expected, found = json.loads(new.stdout), json.loads(warm.stdout)
    assert found == expected and expected[3]['ONLY_HERE'] == '\u00e9' and expected[8] == 'typed'
    assert warm.stderr == new.stderr and ('careful' in new.stderr) == ('ignore' not in arguments)


@pytest.mark.parametrize(('code', 'expected'), [
    ('pass', 0), ('import sys; sys.exit("bad")', 1), ('1 / 0', 1), ('import os; os._exit(7)', 7),
    ('import os; os.kill(os.getpid(), 9)', -9), ('raise KeyboardInterrupt', -2),
    ('import atexit; atexit.register(print, "later"); print("first")', 0),
    ('import threading, time; threading.Timer(0.2, lambda: print("late")).start()', 0)])
def test_a_program_ends_as_it_would_in_a_new_interpreter(code, expected, tmp_path):
    new, warm = both('-c', code, folder=tmp_path)
    assert new.returncode == warm.returncode == expected
    assert warm.stdout == new.stdout
    assert warm.stderr.splitlines()[-1:] == new.stderr.splitlines()[-1:]


def test_mmwsss_is_imported_anew(tmp_path):
    code = 'import sys; print([name for name in sys.modules if name.split(".")[0] == "mmwsss"])'
    assert both('-c', code, folder=tmp_path)[1].stdout == '[]\n'


def test_another_number_of_threads_needs_a_new_interpreter(tmp_path):
    done = subprocess.run([warm_python(), '-c', 'import os, sys; print("torch" in sys.modules)'], capture_output=True,
                          text=True, cwd=tmp_path, env=dict(PATH=os.environ['PATH'], OMP_NUM_THREADS='2'), timeout=60)
    assert done.stdout == 'False\n'


WAITS = '''
import os, time
if GROUP:
    os.fork()
try:
    os.write(1, b'%d\\n' % os.getpid())  # at once, as print does not with PYTHONUNBUFFERED
    time.sleep(60)
except KeyboardInterrupt:
    print('interrupted')
    raise
'''


def test_signals_reach_the_program(python):
    process = subprocess.Popen([python, '-c', WAITS.replace('GROUP', '0')], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'},
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (-signal.SIGINT, 'interrupted\n') and err.endswith('KeyboardInterrupt\n')


@pytest.mark.parametrize('group', [False, True])
def test_a_kill_ends_the_program_and_its_group(python, group):
    process = subprocess.Popen([python, '-c', WAITS.replace('GROUP', str(group))], stdout=subprocess.PIPE, text=True,
                               start_new_session=group, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    pids = [int(process.stdout.readline()) for _ in range(1 + group)]
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdout.read()  # ends when nobody can write any more
    process.stdout.close()
    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)

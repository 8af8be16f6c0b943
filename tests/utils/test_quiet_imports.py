import os
import subprocess
import sys
import warnings

import pytest

from mmwsss.utils.quiet_imports import import_quietly


def test_importing_everything_prints_nothing(repo_root, tmp_path):
    packages = ('datasets', 'models', 'engine', 'evaluation', 'visualization', 'apis', 'inference', 'postprocessing')
    script = '; '.join(f'import mmwsss.{name}' for name in packages)
    # Without the interpreter's options that pytest may have been started with.
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONWARNINGS'}
    environment['PYTHONPATH'] = str(repo_root)
    done = subprocess.run([sys.executable, '-c', script], env=environment, cwd=tmp_path, capture_output=True, text=True,
                          timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_other_lines_and_warnings_pass(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'talkative.py').write_text("""
import warnings
print('Could not import OneDL')
print('Could not import OneDL, and this is bad')
warnings.warn('Fail to import ``MultiScaleDeformableAttention`` but from another module')
value = 3
""")
    with pytest.warns(UserWarning, match='from another module'):
        assert import_quietly('talkative').value == 3
    assert capsys.readouterr().out == 'Could not import OneDL, and this is bad\n'


def test_what_a_failing_import_printed_is_seen(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'failing.py').write_text("print('the reason')\nraise ValueError('bug')\n")
    with warnings.catch_warnings(), pytest.raises(ValueError, match='bug'):
        import_quietly('failing')
    assert capsys.readouterr().out == 'the reason\n'

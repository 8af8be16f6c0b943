import json

import pytest

from mmwsss.cli.main import main


def test_reports_become_one_picture(tmp_path, capsys):
    curve = [dict(threshold=t / 10, mIoU=.1 + t / 20, m_FN=1., m_FP=1.) for t in range(11)]
    for name in 'ab':
        (tmp_path / f'{name}.json').write_text(json.dumps(dict(curve=curve, threshold=1., mIoU=.6)))

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(['draw', 'thresholds', *arguments, '--out', str(tmp_path / 'curves.png')])
        return stop.value.code, *capsys.readouterr()

    first = str(tmp_path / 'a.json')
    code, out, _ = run(first, f'SEAM={tmp_path / "b.json"}')
    assert code == 0 and '2 curves' in out and (tmp_path / 'curves.png').is_file()
    (tmp_path / 'curves.png').unlink()
    assert run(first, '--alpha')[0] == 0 and (tmp_path / 'curves.png').is_file()
    code, _, err = run(first, first)
    assert code == 1 and 'is given twice' in err
    code, _, err = run(str(tmp_path / 'gone.json'))
    assert code == 1 and 'gone.json: no such report' in err

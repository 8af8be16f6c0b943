from mmwsss.cli.report_result import report_result


def test_done(capsys):
    assert report_result('done it', []) == 0
    assert capsys.readouterr() == ('done it\n', '')


def test_skipped_files_are_listed_up_to_a_limit(capsys):
    assert report_result('done it', [(f'{i}.jpg', 'torn') for i in range(5)], limit=2) == 3
    assert capsys.readouterr().err.splitlines() == [
        'left out: 0.jpg: torn', 'left out: 1.jpg: torn', 'left out: 3 more files']

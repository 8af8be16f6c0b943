import pytest
from rich.table import Table

from mmwsss.utils.console import make_console


@pytest.mark.parametrize('name', ['[/b]', '[b]', '[bold]cat[/bold]', ':smile:', '[link=x]', r'\[b]'])
def test_text_is_never_markup(name, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    table = Table(title=f'title {name}')
    table.add_column(f'column {name}', footer=name)
    table.add_row(name)
    make_console().print(table)
    make_console().print(name)
    assert capsys.readouterr().out.count(name) == 4

"""A comparison of pipelines as one html page, with the pictures in it, that needs no other file and no script."""
import base64
from html import escape

from mmwsss.experiments.comparison.compare import MISSING, Comparison, Picture
from mmwsss.experiments.comparison.compare_table import (
    EMPTY_CELLS,
    TITLE,
    TextTable,
    comparison_notes,
    comparison_tables,
)

STYLE = '''
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap; }
thead th { border-bottom: 2px solid #888; }
.r { text-align: right; }
.missing { color: #b00020; }
.table { overflow-x: auto; }
figure { margin: 1rem 0; }
img { max-width: 100%; }
'''


def comparison_html(comparison: Comparison) -> str:
    """Returns tables, notes and the pictures of all pipelines as a html page."""
    title = escape(f'{TITLE}: {", ".join(comparison.pipelines)}')
    parts = [*map(_table, comparison_tables(comparison)),
             '<ul>', *(f'<li>{escape(note)}</li>' for note in comparison_notes(comparison)), '</ul>']
    if pictures := comparison.pictures():
        parts += ['<h2>Pictures</h2>', *map(_figure, pictures)]
    body = '\n'.join(parts)
    return f'''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{TITLE}</h1>
{body}
</body>
</html>
'''


def _table(table: TextTable) -> str:
    header = ''.join(_cell(name, 'th', ' scope="col"', side) for name, side in zip(table.header, table.align))
    rows = '\n'.join('<tr>' + ''.join(
        _cell(text, 'td' if column else 'th', '' if column else ' scope="row"', side)
        for column, (text, side) in enumerate(zip(row, table.align))) + '</tr>' for row in table.rows)
    return f'''<h2>{escape(table.title)}</h2>
<div class="table"><table>
<thead><tr>{header}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>'''


def _cell(text: str, tag: str, attributes: str, side: str) -> str:
    styles = ' '.join(['r'] * (side == 'r') + ['missing'] * (side == 'r' and text == EMPTY_CELLS[MISSING]))
    style = f' class="{styles}"' if styles else ''
    return f'<{tag}{attributes}{style}>{escape(text)}</{tag}>'


def _figure(picture: Picture) -> str:
    caption = escape(f'{picture.stage}, {picture.pipeline}')
    if not picture.path.is_file():
        return f'<p>{caption}: {escape(str(picture.path))} is gone.</p>'
    data = base64.b64encode(picture.path.read_bytes()).decode()
    return f'''<figure>
<figcaption>{caption}</figcaption>
<img src="data:image/png;base64,{data}" alt="{caption}">
</figure>'''

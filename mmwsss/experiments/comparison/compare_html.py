"""A comparison of pipelines as one html page, with the pictures in it, that needs no other file and no script."""
import base64

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from mmwsss.experiments.comparison.compare import MISSING, Comparison, Picture
from mmwsss.experiments.comparison.compare_table import (
    EMPTY_CELLS,
    TITLE,
    TextTable,
    comparison_notes,
    comparison_tables,
)

PAGE = '''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}: {{ names | join(', ') }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap; }
thead th { border-bottom: 2px solid #888; }
.r { text-align: right; }
.missing { color: #b00020; }
.table { overflow-x: auto; }
figure { margin: 1rem 0; }
img { max-width: 100%; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for table in tables %}
<h2>{{ table.title }}</h2>
<div class="table"><table>
<thead><tr>
{%- for name in table.header -%}
<th scope="col"{{ style(table, loop.index0, name) }}>{{ name }}</th>
{%- endfor -%}
</tr></thead>
<tbody>
{% for row in table.rows %}
<tr><th scope="row"{{ style(table, 0, row[0]) }}>{{ row[0] }}</th>
{%- for text in row[1:] -%}
<td{{ style(table, loop.index, text) }}>{{ text }}</td>
{%- endfor -%}
</tr>
{% endfor %}
</tbody>
</table></div>
{% endfor %}
<ul>
{% for note in notes %}
<li>{{ note }}</li>
{% endfor %}
</ul>
{% for picture in pictures %}
{% if loop.first %}
<h2>Pictures</h2>
{% endif %}
{% set caption = picture.stage ~ ', ' ~ picture.pipeline %}
{% if picture.path.is_file() %}
<figure>
<figcaption>{{ caption }}</figcaption>
<img src="data:image/png;base64,{{ base64(picture) }}" alt="{{ caption }}">
</figure>
{% else %}
<p>{{ caption }}: {{ picture.path }} is gone.</p>
{% endif %}
{% endfor %}
</body>
</html>
'''
# What stands in a page is a user's, such as the names of folders: all of it is escaped.
_ENVIRONMENT = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)


def comparison_html(comparison: Comparison) -> str:
    """Returns tables, notes and the pictures of all pipelines as a html page."""
    return _ENVIRONMENT.from_string(PAGE).render(
        title=TITLE, names=list(comparison.pipelines), tables=comparison_tables(comparison),
        notes=comparison_notes(comparison), pictures=comparison.pictures(), style=_style, base64=_base64)


def _style(table: TextTable, column: int, text: str) -> str:
    number = table.align[column] == 'r'
    names = ' '.join(['r'] * number + ['missing'] * (number and text == EMPTY_CELLS[MISSING]))
    return Markup(f' class="{names}"') if names else ''


def _base64(picture: Picture) -> str:
    return base64.b64encode(picture.path.read_bytes()).decode()

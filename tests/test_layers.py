"""The order of the rooms (docs/layout.md) against the imports that the code has."""
import importlib.util
import re
import sys

import pytest

# (importing room, imported room) -> why it may be. Deferred imports only.
ALLOWED_UPWARD: dict[tuple[str, str], str] = {}


@pytest.fixture(scope='session')
def layout(repo_root):
    spec = importlib.util.spec_from_file_location('draw_layout', repo_root / 'docs/draw_layout.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def upward(imports, layout):
    order = list(layout.ROOMS)
    found = []
    for item in imports:
        source, target = layout.room_of(item.source), layout.room_of(item.target)
        if not source:  # mmwsss/__init__.py, which stands above all rooms
            continue
        is_up = not target or order.index(target) < order.index(source)
        if is_up and not (item.is_deferred and (source, target) in ALLOWED_UPWARD):
            found.append(f'{item.source}:{item.line} imports {item.target}')
    return found


def circles(imports):
    """Returns the groups of modules that reach each other; what Python loads before a module (packages) counts."""
    graph: dict[str, set[str]] = {}
    for item in imports:
        parts = item.target.split('.')
        loaded = {'.'.join(parts[:n]) for n in range(2, len(parts) + 1)}
        # Packages around the importing module have begun to load before it, which is right unless it asks for them.
        around = {'.'.join(item.source.split('.')[:n]) for n in range(1, item.source.count('.') + 2)}
        graph.setdefault(item.source, set()).update(loaded - around | {item.target})

    def reachable(start):
        seen, stack = set(), [start]
        while stack:
            for target in graph.get(stack.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    stack.append(target)
        return seen

    reach = {module: reachable(module) for module in graph}
    groups = {frozenset(other for other in reach[module] if module in reach.get(other, ())) for module in graph
              if module in reach[module]}
    return sorted(sorted(group) for group in groups)


def test_every_room_has_its_place(repo_root, layout):
    there = {path.stem for path in (repo_root / 'mmwsss').iterdir()
             if (path.suffix == '.py' or (path / '__init__.py').exists()) and not path.name.startswith(('_', '.'))}
    assert there == set(layout.ROOMS)


def test_no_import_goes_up(layout):
    assert upward(layout.read_imports(), layout) == []


def test_no_imports_in_a_circle(layout):
    assert circles(layout.read_imports()) == []


def test_the_page_tells_the_order(repo_root, layout):
    text = (repo_root / 'docs/layout.md').read_text()
    named = re.findall(r'^\| `(\w+)(?:\.py)?`', text, re.MULTILINE)
    assert [name for name in named if name in layout.ROOMS] == list(layout.ROOMS)


def write(folder, files):
    for name, text in files.items():
        path = folder / 'mmwsss' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / 'mmwsss'


def test_upward_imports_are_found_wherever_they_stand(tmp_path, layout):
    package = write(tmp_path, {
        '__init__.py': 'from mmwsss import registry', 'registry.py': '',
        'utils/__init__.py': '', 'utils/a.py': 'from mmwsss.structures.s import thing\n',
        'utils/b.py': 'def f():\n    from ..structures import s\n',
        'utils/c.py': 'from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mmwsss.apis\n',
        'utils/d.py': 'import mmwsss\n', 'utils/e.py': 'from mmwsss.utils import a\nfrom . import b\n',
        'structures/__init__.py': 'from mmwsss.structures.s import thing', 'structures/s.py': 'thing = 1',
        'apis/__init__.py': 'from mmwsss.utils.a import thing'})
    imports = layout.read_imports(package)
    assert upward(imports, layout) == [
        'mmwsss.utils.a:1 imports mmwsss.structures.s', 'mmwsss.utils.b:2 imports mmwsss.structures.s',
        'mmwsss.utils.c:3 imports mmwsss.apis', 'mmwsss.utils.d:1 imports mmwsss']
    deferred = {item.source.rsplit('.', 1)[1]: item.is_deferred for item in imports if '.utils.' in item.source}
    assert deferred == dict(a=False, b=True, c=True, d=False, e=False)


def test_circles_are_found_through_packages_too(tmp_path, layout):
    straight = {'__init__.py': '', 'models/__init__.py': 'from mmwsss.models.heads import a',
                'models/heads/__init__.py': 'from mmwsss.models.heads.a import f',
                'models/heads/a.py': 'from mmwsss.models.losses.b import g',
                'models/losses/__init__.py': 'from mmwsss.models.losses.b import g', 'models/losses/b.py': 'g = 1'}
    assert circles(layout.read_imports(write(tmp_path, straight))) == []
    # Loading heads.c loads the package heads, whose a needs losses.b, which is being loaded.
    through = write(tmp_path, {'models/losses/b.py': 'from mmwsss.models.heads.c import h',
                               'models/heads/c.py': 'h = 1'})
    assert circles(layout.read_imports(through)) == [
        ['mmwsss.models.heads', 'mmwsss.models.heads.a', 'mmwsss.models.losses', 'mmwsss.models.losses.b']]
    # From the package around it.
    around = write(tmp_path / 'other', {'__init__.py': '', 'utils/__init__.py': 'from mmwsss.utils.a import f',
                                        'utils/a.py': 'def f():\n    from mmwsss.utils import f\n'})
    assert circles(layout.read_imports(around)) == [['mmwsss.utils', 'mmwsss.utils.a']]

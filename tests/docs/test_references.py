"""The cross-references in docstrings against the names that there are."""
import importlib
import inspect
import re

import pytest

REFERENCE = re.compile(r':\w+:`~?(mmwsss[\w.]*)`')  # as in :class:`mmwsss.models.SEAM`


def leads_somewhere(name):
    """Imports as much of a dotted name as is a module, and takes the rest from there."""
    parts = name.split('.')
    for count in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module('.'.join(parts[:count]))
            break
        except ModuleNotFoundError as error:
            if error.name.split('.')[0] != 'mmwsss':
                return True  # an optional dependency, numba or another: the module is there, what is in it nobody knows
    else:
        return False
    for part in parts[count:]:
        if inspect.isclass(thing) and any(part in vars(base).get('__annotations__', ()) for base in thing.__mro__):
            return part == parts[-1]  # a field of a dataclass: without default it is no attribute of the class
        if not hasattr(thing, part):
            return False
        thing = getattr(thing, part)
    return True


@pytest.mark.parametrize(('name', 'expected'), [
    ('mmwsss', True), ('mmwsss.models.losses', True), ('mmwsss.models.losses.RCM', True),
    ('mmwsss.models.losses.RCM.forward', True), ('mmwsss.structures.CAMOutput.feats', True),
    ('mmwsss.models.necks.RCM', False), ('mmwsss.models.losses.RCM.walk', False), ('mmwsss.models.lost.RCM', False),
    ('mmwsss.structures.CAMOutput.feats.size', False), ('mmwsss.postprocessing.pair_mask', False)])
def test_leads_somewhere(name, expected):
    assert leads_somewhere(name) == expected


def test_references_in_docstrings_lead_somewhere(repo_root):
    dead, names = [], []
    for path in sorted(repo_root.glob('mmwsss/**/*.py')):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            for match in REFERENCE.finditer(line):
                names.append(match[1])
                if not leads_somewhere(match[1]):
                    dead.append(f'{path.relative_to(repo_root)}:{number}: {match[0]}')
    assert len(names) > 100  # the expression still finds them
    assert not dead, 'these lead nowhere:\n' + '\n'.join(dead)

"""Compares the metafiles, in which MIM looks for models, with the configs; a part of check_configs.py."""
from pathlib import Path

import yaml

from mmwsss.utils.errors import UserError


def check_metafiles(root: Path) -> None:
    """Compares the metafiles that model-index.yml names with the configs.

    Args:
        root: The checkout.

    Raises:
        UserError: If a config is in no metafile, or a metafile names a config or a collection that there is not.
    """
    index = yaml.safe_load((root / 'model-index.yml').read_text())['Import']
    for folder in sorted({path.parent for path in method_configs(root)}):
        metafile = folder / 'metafile.yml'
        if str(metafile.relative_to(root)) not in index:
            raise UserError(f'model-index.yml: lacks {metafile.relative_to(root)}; add it to Import')
        content = yaml.safe_load(metafile.read_text())
        collections = {collection['Name'] for collection in content['Collections']}
        for model in content['Models']:
            if model['In Collection'] not in collections:
                raise UserError(f'{metafile}: {model["Name"]} is in no collection {model["In Collection"]}; there are '
                                f'{", ".join(sorted(collections))}')
            if not (root / model['Config']).is_file():
                raise UserError(f'{metafile}: {model["Config"]}: there is no such file')
        listed = {root / model['Config'] for model in content['Models']}
        if missing := [path.name for path in method_configs(root) if path.parent == folder and path not in listed]:
            raise UserError(f'{metafile}: lacks {", ".join(missing)}; add each with the result that was measured')


def method_configs(root: Path) -> list[Path]:
    """Returns the configs of trainings and tests below a checkout: all but bases, pipelines and studies."""
    return sorted(path for path in root.glob('configs/*/*.py')
                  if path.parent.name not in ('_base_', 'pipelines', 'studies'))

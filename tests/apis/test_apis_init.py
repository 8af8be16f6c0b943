import inspect
import subprocess
import sys

from warm_python import warm_python

import mmwsss.apis
from mmwsss.datasets import DataFolder

PUBLIC = ['CAMInferencer', 'evaluate', 'make_cam', 'make_pseudo_label', 'make_saliency', 'refine_cam', 'test', 'train']


def test_all_that_a_user_calls_is_here():
    for name in mmwsss.apis.__all__:
        found = getattr(mmwsss.apis, name)
        assert found.__name__ == name and found.__doc__ and inspect.getmodule(found).__name__.startswith('mmwsss.')
        assert name in dir(mmwsss.apis)
    assert set(PUBLIC) <= set(mmwsss.apis.__all__)
    for name in ('evaluate', 'make_pseudo_label', 'make_saliency'):
        assert 'data' in inspect.signature(getattr(mmwsss.apis, name)).parameters


def test_a_name_stays_what_it_is_when_modules_were_imported():
    # A module of the package that were called like a function would take its place.
    code = ('import importlib, pkgutil, mmwsss.apis as apis\n'
            'for module in pkgutil.iter_modules(apis.__path__):\n'
            '    importlib.import_module(f"mmwsss.apis.{module.name}")\n'
            'assert all(callable(getattr(apis, name)) for name in apis.__all__), "a module hides a function"')
    subprocess.run([warm_python(), '-W', 'ignore', '-c', code], check=True)


def test_import_is_light():
    code = ('import sys, mmwsss.apis\n'
            'rooms = ("mmwsss.models", "mmwsss.datasets", "mmseg.models")\n'
            'heavy = [name for name in sys.modules if name.startswith(rooms)]\n'
            'assert not heavy, heavy[:3]\n'
            'try:\n    mmwsss.apis.nothing\nexcept AttributeError as error:\n    assert "nothing" in str(error)')
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)


def test_data_folder_is_taken_by_all(tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'labels.csv').write_text('a,cat\n')
    folder = DataFolder.find(tmp_path)
    assert DataFolder.find(folder) == folder

"""Runs the commands of a document in this process, with settings that make a training take a second."""
import importlib.util
import os
import re
import shlex
import sys
import warnings
from pathlib import Path

from doc_blocks import ROOT, Block, shell_lines
from mmengine.registry import init_default_scope

from mmwsss.cli.main import main, make_parser
from mmwsss.config.config import read_config
from mmwsss.config.find import find_config
from mmwsss.experiments.pipeline.pipeline_config import PipelineConfig

# Commands that take a model's config and make or train something, and what they read of it.
TRAINS, TESTS, PIPELINE = ('train', ), ('test', 'cam', 'refine'), 'pipeline'
# Arguments that name what a command writes.
WRITES = ('out', 'out_dir', 'work_dir', 'plot', 'per_image', 'onnx', 'show_dir')


class Failed(AssertionError):
    """A command of a document does not do what the document says."""


class Shell:
    """Runs the shell blocks of a page, one after the other, in the current folder."""

    def __init__(self) -> None:
        self.variables = dict(PWD=os.getcwd())
        self.count = 0

    def run(self, block: Block) -> None:
        """Runs every line of a block.

        Raises:
            Failed: If one ends with an error, writes nothing where it should, or is no command that can be run here.
        """
        for number, line in shell_lines(block):
            place = f'{block.page}:{number}'
            if unset := {name for name in re.findall(r'\$(\w+)', line) if name not in self.variables}:
                raise Failed(f'{place}: ${min(unset)} is not set in this page')
            words = shlex.split(re.sub(r'\$(\w+)', lambda found: self.variables[found[1]], line), comments=True)
            if not words:
                continue
            if len(words) == 1 and (found := re.fullmatch(r'([A-Z_]+)=(.*)', words[0])):
                self.variables[found[1]] = found[2]
                continue
            try:
                self._command(words)
            except Failed as error:
                raise Failed(f'{place}: {" ".join(words)}\n{error}') from error
            self.count += 1

    def _command(self, words: list[str]) -> None:
        if words[0] == 'mmwsss':
            return _mmwsss(words[1:])
        if words[0] == 'python' and words[1].startswith('tools/') and (ROOT / words[1]).is_file():
            name = re.search(r"^main = tool\('(.+)'\)$", (ROOT / words[1]).read_text(), re.MULTILINE)
            return _mmwsss([*name[1].split(), *words[2:]]) if name else _script(words[1:])
        raise Failed('is not run by this test: let it begin with mmwsss or python tools/*.py, or write\n'
                     '<!-- needs: WHAT --> into the line above the block')


def _mmwsss(words: list[str]) -> None:
    try:
        args = make_parser(words).parse_args(words)
    except SystemExit as stop:
        raise Failed('is not understood') from stop
    options = quick_options(words[0], args)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            main(_with_options(words, options))
        except SystemExit as stop:
            if stop.code:
                raise Failed(f'ends with exit code {stop.code}') from stop
    if words[0] in TRAINS:
        _last_checkpoint(args)
    for name in WRITES:
        if isinstance(path := getattr(args, name, None), (str, Path)) and not Path(path).exists():
            raise Failed(f'has written no {path}')


def _script(words: list[str]) -> None:
    spec = importlib.util.spec_from_file_location('doc_' + Path(words[0]).stem, ROOT / words[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before, sys.argv = sys.argv, words
    try:
        init_default_scope('mmwsss')
        code = module.main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = before
    if code:
        raise Failed(f'ends with exit code {code}')


def _with_options(words: list[str], options: dict) -> list[str]:
    """Puts options before the first of the document's, which may override them."""
    if not options:
        return words
    at = next((i for i, word in enumerate(words) if word.startswith('--')), len(words))
    return [*words[:at], '--cfg-options', *(f'{key}={value}' for key, value in options.items()), *words[at:]]


def quick_options(command: str, args) -> dict[str, str]:
    """Returns options that make a command quick: one epoch, small crops, one scale, no processes."""
    if command == PIPELINE:
        configs = PipelineConfig(find_config(args.config, 'pipelines')).configs
        return {f'cfg_options.{name}.{key}': value for name, path in configs.items()
                for key, value in _of_config(path, trains=True).items()}
    return _of_config(args.config, command in TRAINS) if command in TRAINS + TESTS else {}


def _of_config(path: str | Path, trains: bool) -> dict[str, str]:
    cfg = read_config(path)
    options = {}
    if cfg.get('test_dataloader'):
        options |= {'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False}
    if 'MultiScaleFlip' in [hook['type'] for hook in cfg.model.get('inference_hooks') or []]:
        number = [hook['type'] for hook in cfg.model.inference_hooks].index('MultiScaleFlip')
        options[f'model.inference_hooks.{number}.scales'] = '(1.0,)'
    if trains:
        side = 48
        options |= {'train_cfg.max_epochs': 1, 'train_dataloader.batch_size': 4, 'train_dataloader.num_workers': 0,
                    'train_dataloader.persistent_workers': False}
        if 'size' in (cfg.model.get('data_preprocessor') or {}):
            options['model.data_preprocessor.size'] = f'({side},{side})'
        for number, step in enumerate(cfg.train_dataloader.dataset.pipeline):
            if 'crop_size' in step:
                options[f'train_dataloader.dataset.pipeline.{number}.crop_size'] = f'({side},{side})'
            if 'long_side' in step:
                options[f'train_dataloader.dataset.pipeline.{number}.long_side'] = '(40,64)'
    return options


def _last_checkpoint(args) -> None:
    """Gives the only checkpoint the name that the last of a whole training has, for the commands that follow."""
    epochs = (args.cfg_options or {}).get('train_cfg.max_epochs', read_config(args.config).train_cfg.max_epochs)
    folder = Path(args.work_dir or f'work_dirs/{Path(args.config).stem}')
    (folder / 'epoch_1.pth').rename(folder / f'epoch_{epochs}.pth')

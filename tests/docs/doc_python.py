"""Runs the Python blocks of a document: programs, and the configs that it shows."""
import re
from pathlib import Path

from doc_blocks import ROOT, Block
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmwsss.config.find import OWN_COMMANDS
from mmwsss.experiments.pipeline.pipeline_config import PipelineConfig
from mmwsss.registry import INFERENCE_HOOKS


def run_python(block: Block) -> None:
    """Runs a program, which imports something, in the current folder; of a config builds the hooks or the stages."""
    if re.search(r'^(from|import) ', block.text, re.MULTILINE):
        exec(compile(block.text, str(block), 'exec'), {'__name__': '__main__'})
    else:
        read_shown_config(block.text)


def read_shown_config(text: str) -> None:
    """Reads a config as if it lay in the folder of ``configs`` that its base names."""
    has_stages = re.search(r'^stages *=', text, re.MULTILINE)
    if base := re.search(r"^_base_ = '(.+)'", text, re.MULTILINE):
        folders = [ROOT / 'configs/pipelines'] if has_stages else [
            path for path in sorted((ROOT / 'configs').iterdir()) if path.name not in OWN_COMMANDS]
        found = [path for folder in folders if (path := folder / base[1]).is_file()]
        assert found, f'{base[1]}: no folder of configs/ has such a config beside it'
        text = text.replace(base[1], str(found[0].resolve())).replace("'../", f"'{found[0].parent.parent.resolve()}/")
    path = Path('shown_config.py')
    path.write_text(text)
    if has_stages:
        assert PipelineConfig(path).stages
        return
    cfg = Config.fromfile(path)
    hooks = cfg.inference_hooks if 'inference_hooks' in cfg else cfg.model.get('inference_hooks', [])
    assert hooks, f'{text}: is a config without anything that can be built here; mark the block'
    init_default_scope('mmwsss')
    for hook in hooks:
        INFERENCE_HOOKS.build(hook)

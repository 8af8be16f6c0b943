#!/usr/bin/env python
"""Data sets for weakly supervised object localization: localization_set.py {masks,cub,coco,metadata} ..."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('convert localization')

if __name__ == '__main__':
    run_cli(main)

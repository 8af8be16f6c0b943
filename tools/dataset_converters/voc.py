#!/usr/bin/env python
"""VOC 2012 and SBD as one folder: voc.py VOCdevkit/VOC2012 [--sbd DIR] [--out-dir DIR]."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('convert voc')

if __name__ == '__main__':
    run_cli(main)

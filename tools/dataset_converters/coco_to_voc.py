#!/usr/bin/env python
"""COCO in VOC layout: coco_to_voc.py IMAGES_DIR INSTANCES_JSON --out-dir DIR [--split NAME] [--masks]."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('convert coco')

if __name__ == '__main__':
    run_cli(main)

"""Draws where labels and saliency conflict.

python tools/draw_saliency_conflict.py LABEL_DIR --data-root DIR --out-dir DIR
"""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('draw saliency-conflict')

if __name__ == '__main__':
    run_cli(main)

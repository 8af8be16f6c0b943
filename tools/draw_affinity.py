"""Draws what is similar to a point: python tools/draw_affinity.py CONFIG CHECKPOINT IMAGE --points X,Y --out FILE.

As PCM sees it (SEAM, Fig. 5), or with --stages the features of the backbone (SSA, Fig. 1).
"""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('draw affinity')

if __name__ == '__main__':
    run_cli(main)

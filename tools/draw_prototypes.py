"""Draws how alike RCM's prototypes are: python tools/draw_prototypes.py CHECKPOINT --out FILE."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('draw prototypes')

if __name__ == '__main__':
    run_cli(main)

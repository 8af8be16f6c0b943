"""Draws what PCM takes as similar: python tools/draw_affinity.py CONFIG CHECKPOINT IMAGE --points X,Y --out FILE."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('draw affinity')

if __name__ == '__main__':
    run_cli(main)

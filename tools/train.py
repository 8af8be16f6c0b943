"""Trains a config: python tools/train.py CONFIG [--data-root DIR] [--work-dir DIR] [--resume]."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('train')

if __name__ == '__main__':
    run_cli(main)

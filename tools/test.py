"""Tests a checkpoint: python tools/test.py CONFIG CHECKPOINT [--data-root DIR] [--out metrics.json]."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('test')

if __name__ == '__main__':
    run_cli(main)

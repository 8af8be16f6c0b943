"""Compares pipelines stage by stage: python tools/compare.py NAME=WORK_DIR ... [--html table.html]."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('compare')

if __name__ == '__main__':
    run_cli(main)

"""Runs an ablation study: python tools/run_study.py STUDY --data-root DIR --work-dir DIR."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('study')

if __name__ == '__main__':
    run_cli(main)

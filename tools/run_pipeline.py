"""Runs a pipeline: python tools/run_pipeline.py PIPELINE --data-root DIR --work-dir DIR."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('pipeline')

if __name__ == '__main__':
    run_cli(main)

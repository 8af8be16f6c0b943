"""Writes a part of a model: python tools/model_converters/export_part.py SRC DST --part main_net."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('convert part')

if __name__ == '__main__':
    run_cli(main)

"""Converts an original checkpoint: python tools/model_converters/convert.py --source NAME SRC DST."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('convert checkpoint')

if __name__ == '__main__':
    run_cli(main)

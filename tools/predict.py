"""Applies a trained model to images: python tools/predict.py CONFIG CHECKPOINT IMAGES --out-dir DIR."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('predict')

if __name__ == '__main__':
    run_cli(main)

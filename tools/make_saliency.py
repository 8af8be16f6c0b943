"""Makes saliency maps: python tools/make_saliency.py MODEL.onnx --data-root DIR [--split NAME]."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('saliency')

if __name__ == '__main__':
    run_cli(main)

"""Makes pseudo labels: python tools/make_pseudo_label.py CAM_DIR --data-root DIR --out-dir DIR."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('label')

if __name__ == '__main__':
    run_cli(main)

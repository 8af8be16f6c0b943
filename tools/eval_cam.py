"""Evaluates CAM or label files: python tools/eval_cam.py CAM_DIR --data-root DIR [--split NAME]."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('eval')

if __name__ == '__main__':
    run_cli(main)

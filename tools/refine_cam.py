"""Refines CAM files: python tools/refine_cam.py CONFIG CHECKPOINT CAM_DIR --out-dir DIR."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('refine')

if __name__ == '__main__':
    run_cli(main)

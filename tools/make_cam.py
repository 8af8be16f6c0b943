"""Makes CAM files: python tools/make_cam.py CONFIG CHECKPOINT --out-dir DIR --split NAME."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('cam')

if __name__ == '__main__':
    run_cli(main)

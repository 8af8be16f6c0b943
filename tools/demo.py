"""The main job from end to end: `make demo` on generated pictures, `make demo DATA=dir` on real ones."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('demo')

if __name__ == '__main__':
    run_cli(main)

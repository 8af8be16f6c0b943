"""Plots what trainings have logged: as `mmwsss draw curves`, which has the same arguments."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('draw curves')

if __name__ == '__main__':
    run_cli(main)

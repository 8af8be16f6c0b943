"""Plots the confusion matrix of label maps: as `mmwsss draw confusion`, which has the same arguments."""
from mmwsss.cli.main import tool
from mmwsss.cli.run_cli import run_cli

main = tool('draw confusion')

if __name__ == '__main__':
    run_cli(main)

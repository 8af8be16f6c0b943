"""``python -m mmwsss``: the command ``mmwsss``."""
from mmwsss.cli.main import main

if __name__ == '__main__':
    main()

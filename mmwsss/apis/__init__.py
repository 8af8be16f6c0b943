"""What the tools are made of, for use from Python: configs, runs, CAM making, evaluation, pipelines."""

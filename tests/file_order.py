"""Which files of tests are run first.

With ``--dist loadfile`` a worker gets a file at a time. One that takes half a minute and comes last keeps a single core
busy while the others wait, so these files are begun first; the rest is short enough to end nearly together.
"""
# Processor seconds, of those above ten.
FIRST = (
    'tools/test_distributed.py',  # 37
    'tools/test_run_pipeline.py',  # 24
    'apis/test_inferencer.py',  # 20
    'experiments/pipeline/test_pipeline.py',  # 19
    'test_setup.py',  # 16
    'docs/test_doc_commands.py',  # 15
    'apis/test_refine_cam.py',  # 11
)


def rank(path: str) -> int:
    """Place of a file, POSIX, below tests/: those named above in their order, then all others."""
    return FIRST.index(path) if path in FIRST else len(FIRST)

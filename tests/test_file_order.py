from pathlib import Path

from file_order import FIRST

ROOT = Path(__file__).parent


def test_files_that_come_first_are_there():
    assert [name for name in FIRST if not (ROOT / name).is_file()] == [] and len({*FIRST}) == len(FIRST)


def test_they_do_come_first(request):
    """In the order that xdist's workers collect and its scheduler keeps."""
    items = request.session.items
    files = list(dict.fromkeys(item.path.relative_to(ROOT).as_posix() for item in items))
    present = [name for name in FIRST if name in files]
    assert files[:len(present)] == present
    assert not getattr(request.config.option, 'loadscopereorder', False)

"""Draws docs/layout.png, the rooms of the package and the imports between them: python docs/draw_layout.py.

The order of the rooms stands here; tests/test_layers.py holds the code to it.
"""
import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / 'mmwsss'

# From top to bottom: a room imports from itself and from those below it.
ROOMS = {
    'cli': 'the command line: arguments, messages, exit codes',
    'experiments': 'pipelines, studies, comparisons',
    'apis': 'what a user calls from Python',
    'converters': 'checkpoints of the original repositories',
    'config': 'configs: found, overridden, fitted to the data',
    'engine': 'hooks, loops, samplers, safe checkpoints',
    'visualization': 'pictures of CAMs, labels and curves',
    'evaluation': 'metrics, and the writers of CAM and label files',
    'saliency': 'saliency maps by a network of the U²-Net family',
    'datasets': "a user's data, transforms, COCO, generated scenes",
    'models': 'backbones, heads, losses, classifiers, affinity',
    'inference': 'image to CAM: scales, SSA, InferCam, Grad-CAM',
    'postprocessing': 'CAM to label: background, dense CRF',
    'structures': 'files between stages, arithmetic on maps',
    'registry': 'names of components',
    'utils': 'files, processes, errors',
    'version': 'the version',
}
# Used by nearly all others: the picture says so instead of drawing it.
FOUNDATION = ('structures', 'registry', 'utils')
HIDDEN = ('version',)


@dataclass(frozen=True)
class Import:
    """One module importing another.

    Attributes:
        source: Dotted name of the importing module.
        target: Dotted name of the imported module.
        line: Line of the statement.
        is_deferred: Whether it is inside a function or only for type checkers.
    """
    source: str
    target: str
    line: int
    is_deferred: bool


def room_of(module: str) -> str:
    """Returns the room of a module: the second part of its dotted name; empty for the package itself."""
    room = (module.split('.') + [''])[1]
    return 'cli' if room == '__main__' else room


def read_imports(package: Path = PACKAGE) -> list[Import]:
    """Reads which modules of a package import which, from their source; nothing is imported.

    Args:
        package: Folder of the package.

    Returns:
        Every import of one module of the package by another, those inside functions and for type checkers included.
    """
    files = {_module_name(path, package): path for path in sorted(package.rglob('*.py'))}
    return [found for name, path in files.items() for found in _imports_of(name, path, files)]


def _module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def _imports_of(name: str, path: Path, files: dict[str, Path]) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding='utf-8'))
    deferred = {id(child) for node in ast.walk(tree) if _defers(node) for child in ast.walk(node)}
    root = name.split('.')[0]
    for node in ast.walk(tree):
        targets: set[str] = set()
        if isinstance(node, ast.Import):
            targets = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                package = name.split('.') if path.name == '__init__.py' else name.split('.')[:-1]
                base = '.'.join([*package[:len(package) - node.level + 1], *filter(None, [node.module])])
            # `from package import module` names a module, `from module import thing` does not.
            targets = {f'{base}.{alias.name}' if f'{base}.{alias.name}' in files else base for alias in node.names}
        for target in sorted(targets):
            if target.split('.')[0] == root and target != name:
                yield Import(name, target, node.lineno, id(node) in deferred)


def _defers(node: ast.AST) -> bool:
    return (isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            or (isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test)))


def draw(out_path: Path, package: Path = PACKAGE) -> None:
    """Draws the rooms from top to bottom, with an arc for the imports of one room from another.

    Args:
        out_path: File to write.
        package: Folder of the package.
    """
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.path import Path as Curve

    counts = Counter((room_of(i.source), room_of(i.target)) for i in read_imports(package)
                     if room_of(i.source) != room_of(i.target))
    rooms = [room for room in ROOMS if room not in HIDDEN]
    colours = plt.get_cmap('turbo')
    step, height, width = 0.62, 0.46, 6.9
    top = {room: -index * step - (0.25 if room in FOUNDATION else 0) for index, room in enumerate(rooms)}
    figure, axes = plt.subplots(figsize=(9.6, 7.2))
    for index, room in enumerate(rooms):
        is_base = room in FOUNDATION
        colour = (0.45, 0.45, 0.45, 1) if is_base else colours(0.06 + 0.86 * index / len(rooms))
        box_width = width + 4.1 if is_base else width
        axes.add_patch(FancyBboxPatch((0, top[room] - height / 2), box_width, height, linewidth=1.2, edgecolor=colour,
                                      boxstyle='round,pad=0,rounding_size=0.09', facecolor=(*colour[:3], 0.10)))
        axes.text(0.16, top[room], room, va='center', fontsize=12, fontweight='bold', family='DejaVu Sans',
                  color='#222222')
        axes.text(2.25, top[room], ROOMS[room], va='center', fontsize=10, color='#333333')
        if is_base:
            users = len({source for source, target in counts if target == room and source in ROOMS})
            axes.text(box_width - 0.16, top[room], f'used by {users} rooms', va='center', ha='right', fontsize=10,
                      color='#555555')
    for (source, target), count in sorted(counts.items(), key=lambda item: -item[1]):
        if source not in top or target not in top or target in FOUNDATION:
            continue
        source_index, target_index = rooms.index(source), rooms.index(target)
        colour = colours(0.06 + 0.86 * source_index / len(rooms))
        start, end = top[source] - 0.08, top[target] + 0.08
        bend = width + 0.55 + 0.43 * (target_index - source_index)
        axes.add_patch(PathPatch(Curve([(width, start), (bend, start), (bend, end), (width + 0.1, end)],
                                       [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]), fill=False,
                                 linewidth=0.9 + 0.45 * count ** 0.5, edgecolor=(*colour[:3], 0.75),
                                 capstyle='round'))
        axes.add_patch(plt.Polygon([(width + 0.02, end), (width + 0.2, end + 0.065), (width + 0.2, end - 0.065)],
                                   facecolor=colour, edgecolor='none'))
    axes.set_xlim(-0.1, width + 4.2)
    axes.set_ylim(min(top.values()) - 0.4, 0.75)
    axes.text(0, 0.5, 'mmwsss: an import goes down this list, or stays in its room', fontsize=11, color='#222222')
    axes.axis('off')
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.99)
    figure.savefig(out_path, dpi=110, facecolor='white')
    plt.close(figure)


def main() -> None:
    """Draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path(__file__).with_name('layout.png'))
    draw(parser.parse_args().out)


if __name__ == '__main__':
    main()

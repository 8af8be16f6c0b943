"""The blocks of code in the documents, and what a document says that they need."""
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What a block has above it that is not run: a line that a reader of the page does not see.
BLOCK = re.compile(r'(?:^ *<!-- needs: (?P<needs>.+?) -->\n)?^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```',
                   re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: The file, relative to the checkout.
        line: Number of its first line of code.
        language: What the page says that it is; may be empty.
        text: Its code.
        needs: What it cannot run without in a test; ``None`` if it can.
    """
    page: str
    line: int
    language: str
    text: str
    needs: str | None

    def __str__(self) -> str:
        return f'{self.page}:{self.line}'


def find_blocks(text: str, page: str = 'page.md') -> Iterator[Block]:
    """Yields the blocks of a page, in order."""
    for match in BLOCK.finditer(text):
        line = text[:match.start('text')].count('\n') + 1
        yield Block(page, line, match['language'], match['text'], match['needs'])


def read_blocks(page: Path, *languages: str) -> list[Block]:
    """Returns the blocks of a file that are in one of the languages; without languages all."""
    found = find_blocks(page.read_text(), page.relative_to(ROOT).as_posix())
    return [block for block in found if not languages or block.language in languages]


def shell_lines(block: Block) -> list[tuple[int, str]]:
    """Returns the lines of a shell block with their numbers; one that goes on on the next is one line."""
    lines, number = [], block.line
    for line in block.text.replace('\\\n', '\x00').splitlines():
        lines.append((number, line.replace('\x00', ' ')))
        number += 1 + line.count('\x00')
    return lines

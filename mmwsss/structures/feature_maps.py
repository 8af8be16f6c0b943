"""What a transformer returns besides its feature maps."""
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class AttentionMaps:
    """Self-attention of some blocks of a transformer, averaged over the heads.

    The tokens are the special ones (class tokens, registers) first, then the patches by rows.

    Attributes:
        blocks: Attention of every block, from the input on, each N x T x T float; a row sums up to one over what a
            token looks at.
        grid: (h, w) of the patches; T = number of special tokens + hw.
    """
    blocks: tuple[Tensor, ...]
    grid: tuple[int, int]

    def detach(self) -> 'AttentionMaps':
        """Returns the same without gradient."""
        return AttentionMaps(tuple(block.detach() for block in self.blocks), self.grid)

    @property
    def num_special(self) -> int:
        """Number of special tokens."""
        return self.blocks[0].shape[-1] - self.grid[0] * self.grid[1]

    def patch_to_patch(self) -> tuple[Tensor, ...]:
        """Returns the attention among the patches for every block, N x hw x hw; rows sum up to less than one."""
        start = self.num_special
        return tuple(block[:, start:, start:] for block in self.blocks)

    def special_to_patch(self) -> tuple[Tensor, ...]:
        """Returns the attention of every special token to the patches for every block, N x specials x h x w."""
        start = self.num_special
        return tuple(block[:, :start, start:].unflatten(-1, self.grid) for block in self.blocks)


class FeatureMaps(tuple):
    """A tuple of feature maps, as a backbone returns it, with what else a transformer computes.

    It can be used wherever a tuple of feature maps can. A neck's result is a plain tuple again.

    Args:
        maps: Feature maps, each N x K x h x w.
        tokens: N x T x K special tokens (class tokens, registers) after the last block, normalised as the maps are;
            ``None`` where there are none.
        attentions: See :class:`AttentionMaps`; ``None`` where they were not asked for.
    """

    tokens: Tensor | None
    attentions: AttentionMaps | None

    def __new__(cls, maps: Iterable[Tensor], tokens: Tensor | None = None,
                attentions: AttentionMaps | None = None) -> 'FeatureMaps':
        """Makes the tuple."""
        self = super().__new__(cls, maps)
        self.tokens, self.attentions = tokens, attentions
        return self

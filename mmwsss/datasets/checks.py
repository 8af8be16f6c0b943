"""Checks of a training set-up that need the data set."""
from mmwsss.utils.errors import UserError


def check_batch_size(dataset_length: int, batch_size: int, drop_last: bool, world_size: int = 1,
                     is_shared: bool = False) -> None:
    """Checks that an epoch has at least one batch.

    A sampler that ends, as MMEngine's ``DefaultSampler``, deals every process ceil(n / processes) images, of which
    ``drop_last`` leaves out those that fill no batch. Infinite samplers need no such check.

    Args:
        dataset_length: Number n of training images.
        batch_size: Images in a batch of one process.
        drop_last: Whether the dataloader leaves out the last batch when it is not full.
        world_size: Number of processes.
        is_shared: Whether ``train_dataloader.batch_size`` is that of all processes together, for the hint.

    Raises:
        UserError: If no batch is left.
    """
    per_process = -(-dataset_length // world_size)
    if per_process == 0:
        raise UserError('train_dataloader: the data set has no image; check its folder and its split')
    if drop_last and per_process < batch_size:
        share = f', {per_process} for each of {world_size} processes,' if world_size > 1 else ''
        possible = per_process * (world_size if is_shared else 1)
        raise UserError(f'train_dataloader: the data set has {dataset_length} images{share} which is less than one '
                        f'batch of {batch_size}; give --cfg-options train_dataloader.batch_size={possible} or less')

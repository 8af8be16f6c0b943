"""What a stage of a pipeline is.

A stage of one's own is a class below :class:`Stage`, registered in :data:`mmwsss.registry.STAGES`, in a module that the
pipeline config names in ``custom_imports``::

    @STAGES.register_module('count_cams')
    @dataclass(kw_only=True)
    class CountCAMs(Stage):
        INPUTS = dict(cams=FILES)
        split: str

        def run(self, context: StageContext) -> StageResult:
            count = len(list(Path(context.inputs['cams']).glob('*.npz')))
            (context.folder / 'count.txt').write_text(str(count))
            return StageResult('count.txt', [dict(metric='CAM files', value=count)])
"""
import abc
import dataclasses
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mmengine.config import Config
from mmengine.logging import print_log

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.weight_checks import check_checkpoint
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_lines

# What an input is: files of the images, such as CAMs, whose gaps are handed on, or anything else.
FILES, OTHER = 'files', 'other'
# Roles of stages, see Stage.role.
CAM, REFINED_CAM, CONFIDENT_LABEL, LABEL, SEGMENTOR = 'CAM', 'refined CAM', 'confident label', 'label', 'segmentor'


@dataclass
class StageResult:
    """What a stage reports.

    Attributes:
        output: The path that later stages read (a checkpoint, a folder, a json file): one that begins with the
            stage's folder, or one below it.
        metrics: Rows for the table: dicts with ``metric``, ``value``, ``unit``, ``note`` and ``oracle``.
        skipped: (file, reason) for every file that was left out.
    """
    output: str | Path
    metrics: list[dict] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class StageContext:
    """What a pipeline gives its stage.

    Attributes:
        folder: Where the stage writes. There may be what an interrupted run has left, with the same key.
        data: The data set.
        load_config: Loads one of the pipeline's configs by its name, with settings over it, fitted to the data.
        fingerprint: Digest of what is read of a split: (split, parts of the data, data set or ``None``) -> text, see
            :meth:`mmwsss.datasets.data_folder.DataFolder.fingerprint`.
        inputs: The path of every input. Empty in :meth:`Stage.check` and :meth:`Stage.key`.
        left_out: Stems of the images that the stages before have left out of the files that this one reads.
        weights: File of pretrained weights for the backbones of the stage's config, in place of the config's.
        launcher: How the processes were started.
    """
    folder: Path
    data: DataFolder
    load_config: Callable[[str, Mapping | None], Config]
    fingerprint: Callable[[str | None, Collection[str], DataFolder | None], str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    left_out: Collection[str] = ()
    weights: str | None = None
    launcher: str = 'none'

    @property
    def classes(self) -> tuple[str, ...]:
        """The foreground classes of the data."""
        return self.data.classes

    def remaining_stems(self, split: str) -> list[str]:
        """Returns the images of a split without those that the stages before have left out."""
        return [stem for stem in self.data.stems(split) if stem not in self.left_out]

    def remaining(self, split: str) -> str:
        """Returns a split without the images that the stages before have left out.

        Returns:
            The split itself, or the path of a list in the stage's folder.

        Raises:
            UserError: If no image is left.
        """
        stems = self.remaining_stems(split)
        if len(stems) == len(self.data.stems(split)):
            return split
        if not stems:
            raise UserError(f'{self.data.root}: the stages before have left out every image of split {split}')
        # Every process writes it, the same bytes, since it reads it next: the main one may be slower.
        path = self.folder.resolve() / f'{Path(split).stem}.txt'
        self.folder.mkdir(parents=True, exist_ok=True)
        write_lines(path, stems)
        return str(path)

    def remark(self, split: str, *parts: str) -> str:
        """Returns the note of a figure: its split, further parts, and how many images it does not count."""
        missing = len(self.data.stems(split)) - len(self.remaining_stems(split))
        return ', '.join([split, *parts, *([f'without {missing} images left out before'] if missing else [])])


@dataclass(kw_only=True)
class Stage(abc.ABC):
    """A step of a pipeline. Its fields are its options in the pipeline config.

    Attributes:
        INPUTS: What it can read of other stages: name -> :data:`FILES` or :data:`OTHER`.
        REQUIRED: Those of :attr:`INPUTS` that it cannot do without.
        ANY_INPUT: Whether it takes inputs of other names too, which are files.
        READS: What it reads of the data set, of :data:`mmwsss.datasets.data_folder.PARTS`.
        ROLE: Its role, if all stages of its type have the same.
        EVALUATES: Whether it only evaluates its input, and so has the role of that.
        MAIN_PROCESS_ONLY: Whether it runs on the main process only, in a distributed run.

    Args:
        name: Its name, that of its folder.
        inputs: Input -> name of the stage whose output it is, or ``NAME/FOLDER``, a folder that this stage has written.
        paths: Input -> path of a file or folder from elsewhere.
        role: What it is to the pipeline, by which :mod:`mmwsss.experiments.comparison` finds its counterpart in
            others: :data:`CAM`, :data:`LABEL`, ..., or a word of one's own. ``None``: what
            :func:`mmwsss.experiments.pipeline.roles.find_roles` finds.
    """
    INPUTS: ClassVar[Mapping[str, str]] = {}
    REQUIRED: ClassVar[Collection[str]] = ()
    ANY_INPUT: ClassVar[bool] = False
    READS: ClassVar[Collection[str]] = ('images',)
    ROLE: ClassVar[str | None] = None
    EVALUATES: ClassVar[bool] = False
    MAIN_PROCESS_ONLY: ClassVar[bool] = False

    name: str
    inputs: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    role: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The stage's own options: without its name, its role and what it reads."""
        return {option.name: getattr(self, option.name) for option in dataclasses.fields(self)
                if option.name not in ('name', 'inputs', 'paths', 'role')}

    def _deciding_options(self) -> dict[str, Any]:
        """Returns the options without the number of worker processes, on which no result depends."""
        return {name: value for name, value in self.options.items() if name != 'num_workers'}

    def reads_files(self, source: str) -> bool:
        """Says whether an input is files of images."""
        return self.INPUTS.get(source, FILES) == FILES

    def check(self, context: StageContext) -> None:
        """Checks all that can be checked before the first stage runs; what is wrong shows now, not in a day.

        Raises:
            UserError: If something is missing, or does not fit the data.
        """
        if split := self.options.get('split'):
            context.data.check_images(split)

    def key(self, context: StageContext) -> dict[str, Any]:
        """Returns what the result depends on, beside what it reads of other stages: values for json."""
        split = self.options.get('split')
        return dict(options=self._deciding_options(),
                    data=context.fingerprint(split, self.READS, None) if split else None)

    @abc.abstractmethod
    def run(self, context: StageContext) -> StageResult:
        """Does the stage's work; interrupted, it is called again with what it has left in its folder.

        Raises:
            UserError: For a mistake of the user.
        """


@dataclass(kw_only=True)
class ConfigStage(Stage):
    """A stage that runs one of the pipeline's configs on a split.

    Args:
        config: Name of the config.
        split: The images.
        cfg_options: Settings over the config's, with dotted keys.
    """
    config: str
    split: str
    cfg_options: dict[str, Any] | None = None

    def load(self, context: StageContext) -> Config:
        """Loads the config, with the stage's settings over it."""
        return context.load_config(self.config, self.cfg_options)

    def check(self, context: StageContext) -> None:
        """See :meth:`Stage.check`; a checkpoint from elsewhere is loaded as the stage will load it."""
        super().check(context)
        if checkpoint := self.paths.get('checkpoint'):
            check_checkpoint(self.load(context), checkpoint, context.classes)

    @abc.abstractmethod
    def config_key(self, cfg: Config) -> dict[str, Any]:
        """Returns what of the config decides the result."""

    @abc.abstractmethod
    def data_key(self, cfg: Config, context: StageContext) -> str:
        """Returns the digest of what the stage reads of the data."""

    def key(self, context: StageContext) -> dict[str, Any]:
        """See :meth:`Stage.key`."""
        cfg = self.load(context)
        options = {name: value for name, value in self._deciding_options().items() if name != 'config'}
        return dict(options=options, config=self.config_key(cfg), data=self.data_key(cfg, context))


def say_without_masks(context: StageContext, name: str, split: str) -> None:
    """Says at the start which images a stage will not evaluate: those of a split that have no mask."""
    stems, masks = context.data.stems_with_image(split), context.data.mask_paths()
    without = [stem for stem in stems if stem not in masks]
    if not context.data.has_masks(split):
        print_log(f'stage {name}: split {split} will not be evaluated, as {context.data.masks_path} has no mask of it',
                  'current', level=logging.WARNING)
    elif without:
        print_log(f'stage {name}: {len(without)} of {len(stems)} images of split {split} will not be evaluated, as '
                  f'{context.data.masks_path} has no mask of them, e.g. {without[0]}', 'current', level=logging.WARNING)


def no_masks(context: StageContext) -> str:
    """Returns why nothing was evaluated."""
    return f'not evaluated: {context.data.masks_path} has no masks'

"""Predictions as files: label maps, pictures of them, and a list of both."""
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmwsss.apis.predictions import CAMPrediction, Prediction, SegPrediction
from mmwsss.datasets.layout import stem_of
from mmwsss.postprocessing import DEFAULT_BACKGROUND
from mmwsss.structures.label_file import label_path, write_label
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import nearest_existing, read_json, write_json
from mmwsss.visualization.draw import save_png

LABELS, OVERLAYS, INDEX = 'labels', 'overlays', 'predictions.json'


class PredictionFiles:
    """Writes predictions into a folder, one after the other.

    ``labels/<name>.png`` are label maps (palette PNG, 0 background, k + 1 for class k; with more than 254 classes for
    class k of those of the image) of the size of the image,
    ``overlays/<name>.png`` pictures, ``predictions.json`` the list of both with the classes of each image: the
    score of every class of a classifier, the share of the pixels of those in a segmentor's mask. A name is the image's
    without its extension, with composed accents (see :func:`mmwsss.datasets.layout.stem_of`), ``image`` for one without
    a file; a second image of one name gets a number.

    Args:
        out_dir: The folder; files of an earlier call are replaced.
        classes: Names of the foreground classes.
        background: How the labels of a classifier are made, see :func:`mmwsss.postprocessing.pseudo_label`.
        postprocessors: Configs of POSTPROCESSORS for these labels, applied in this order.

    Raises:
        UserError: If the folder is none, or holds such files that no earlier call has written.
    """

    def __init__(self, out_dir: str | os.PathLike, classes: Sequence[str], background: Mapping = DEFAULT_BACKGROUND,
                 postprocessors: Sequence[Mapping] = ()) -> None:
        self.out_dir, self.classes = Path(out_dir), tuple(classes)
        self.background, self.postprocessors = background, list(postprocessors)
        self.images: list[dict] = []
        self._taken: set[str] = set()
        self._check_folder()

    def _check_folder(self) -> None:
        """Refuses to replace label maps, pictures or a list of another origin."""
        if not nearest_existing(self.out_dir).is_dir():
            raise UserError(f'{self.out_dir}: is a file or lies in one; choose another --out-dir (out_dir)')
        index = self.out_dir / INDEX
        try:
            found = read_json(index)
        except (OSError, ValueError, RecursionError):  # so it is none of ours
            found = ()
        if found is None:
            if there := next((path for name in (LABELS, OVERLAYS) for path in (self.out_dir / name).glob('*.png')),
                             None):
                raise UserError(f'{there}: is there, but no {INDEX}, so it is not known how it was made; choose '
                                'another --out-dir (out_dir)')
        elif not isinstance(found, dict) or not {'classes', 'images'} <= set(found):
            raise UserError(f'{index}: is no list of predictions of mmwsss, and would be replaced; choose another '
                            '--out-dir (out_dir)')

    def check_sources(self, paths: Sequence[Path]) -> None:
        """Refuses to replace images that predictions are made of, and to write among them.

        Args:
            paths: The images, and the folders in which images were or will be looked for.

        Raises:
            UserError: If an image lies where files are written, or files are written into such a folder.
        """
        for folder in filter(Path.is_dir, paths):
            if self.out_dir.resolve().is_relative_to(folder.resolve()):
                raise UserError(f'{self.out_dir}: is in {folder}, where its files would be taken for images from then '
                                'on; choose another --out-dir (out_dir)')
        for folder in (self.out_dir / LABELS, self.out_dir / OVERLAYS):
            if inside := next((path for path in paths if folder.resolve() in path.resolve().parents), None):
                raise UserError(f'{inside}: is in a folder that predictions are written to; choose another --out-dir '
                                '(out_dir)')

    def write(self, prediction: Prediction) -> None:
        """Writes label map and picture of one prediction."""
        if not self.images and not (self.out_dir / INDEX).exists():
            self.write_index()  # so that the files of a call that is interrupted are known as its own
        name = self._name(prediction.source)
        if isinstance(prediction, SegPrediction):
            label, picture = prediction.label, prediction.draw()
            seen = dict(shares={name: round(share, 6) for name, share in prediction.shares().items()})
        else:
            label = prediction.pseudo_label(background=self.background, postprocessors=self.postprocessors)
            picture = prediction.draw(label)
            seen = _seen_by_classifier(prediction)
        write_label(label_path(self.out_dir / LABELS, name), label)
        save_png(label_path(self.out_dir / OVERLAYS, name), picture)
        self.images.append(dict(image=str(prediction.source) if prediction.source else None,
                                label=f'{LABELS}/{name}.png', overlay=f'{OVERLAYS}/{name}.png', **seen))

    def write_all(self, predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        """Writes predictions, and the list at their end, and hands them on."""
        for prediction in predictions:
            self.write(prediction)
            yield prediction
        self.write_index()

    def write_index(self) -> None:
        """Writes ``predictions.json``."""
        self.out_dir.mkdir(parents=True, exist_ok=True)
        write_json(self.out_dir / INDEX, dict(classes=list(self.classes), images=self.images))

    def _name(self, path: Path | None) -> str:
        stem = stem_of(path.name) if path else 'image'
        name, number = stem, 1
        while name in self._taken:
            number += 1
            name = f'{stem}_{number}'
        self._taken.add(name)
        return name


def _seen_by_classifier(prediction: CAMPrediction) -> dict:
    return dict(classes=list(prediction.classes), class_filter=prediction.class_filter,
                scores={name: round(score, 6) for name, score in prediction.scores.items()})

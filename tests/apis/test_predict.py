import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mmwsss.apis import CAMInferencer, SegInferencer, runner
from mmwsss.cli.main import main
from mmwsss.config.config import load_config, read_config
from mmwsss.config.seg_options import prepare_test
from mmwsss.postprocessing import DEFAULT_BACKGROUND, pseudo_label
from mmwsss.structures.cam_file import CAMFile
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import read_label, voc_palette
from mmwsss.utils.errors import UserError

CLASSES = ('cat', 'dog', 'owl')


def predict(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(['predict', *map(str, words)])
    return (stop.value.code, *capsys.readouterr())


def test_masks_are_those_of_a_test(segmentor, generated_root, tmp_path):
    """The label maps that a test of the same images writes."""
    cfg = load_config(segmentor[0], generated_root)
    assert prepare_test(cfg, 'val', out_dir=tmp_path / 'tested')
    runner.test(cfg, segmentor[1], tmp_path / 'work')
    expected = {path.stem: read_label(path) for path in (tmp_path / 'tested').glob('*.png')}
    images = [path for path in (generated_root / 'JPEGImages').iterdir() if path.stem in expected]
    predictions = SegInferencer(*segmentor, batch_size=3)(images)
    assert len(predictions) == len(expected) == 4
    for prediction in predictions:
        label = expected[prediction.source.stem]
        assert prediction.label.dtype == np.uint8 and (prediction.label != label).mean() < 1e-3
        shares = prediction.shares()
        assert sum(shares.values()) == pytest.approx(1) and set(shares) <= {'background', *prediction.classes}
    assert any(len(prediction.shares()) > 1 for prediction in predictions)


def test_array_file_and_folder_give_the_same_mask(segmentor, photographs):
    inferencer = SegInferencer(*segmentor)
    image = read_image(photographs / 'b.png')
    by_file, = inferencer(photographs / 'b.png')
    by_array, = inferencer(np.ascontiguousarray(image[..., ::-1]))
    assert by_array.source is None and np.array_equal(by_file.label, by_array.label)
    assert by_file.label.shape == image.shape[:2]
    assert [prediction.source.name for prediction in inferencer(photographs)] == ['a.jpg', 'b.png', 'a.png']


def test_segmentor_on_the_command_line(segmentor, photographs, tmp_path, capsys):
    (photographs / 'broken.jpg').write_bytes(b'no image')
    code, out, err = predict(capsys, *segmentor, photographs, '--out-dir', tmp_path / 'out')
    assert code == 3 and '3 images' in out and 'broken.jpg' in err
    index = json.loads((tmp_path / 'out/predictions.json').read_text())
    assert [entry['label'] for entry in index['images']] == ['labels/a.png', 'labels/b.png', 'labels/a_2.png']
    for entry in index['images']:
        image, label = read_image(entry['image']), read_label(tmp_path / 'out' / entry['label'])
        assert label.shape == image.shape[:2]
        for name, share in entry['shares'].items():
            number = ['background', *index['classes']].index(name)
            assert (label == number).mean() == pytest.approx(share, abs=1e-6)
        with Image.open(tmp_path / 'out' / entry['label']) as png:
            assert png.mode == 'P' and png.getpalette()[:12] == np.ravel(voc_palette(4)).tolist()
        assert read_image(tmp_path / 'out' / entry['overlay']).shape[1] >= image.shape[1]


def test_classifier_on_the_command_line(classifier, photographs, tmp_path, capsys):
    code, out, err = predict(capsys, *classifier, photographs / 'a.jpg', photographs / 'sub', '--out-dir',
                             tmp_path / 'out', '--score-thr', '0.3')
    assert (code, err) == (0, '') and '2 images' in out
    index = json.loads((tmp_path / 'out/predictions.json').read_text())
    assert index['classes'] == list(CLASSES)
    predictions = CAMInferencer(*classifier, score_thr=0.3)([photographs / 'a.jpg', photographs / 'sub/a.png'])
    assert any(prediction.classes for prediction in predictions)
    for prediction, entry in zip(predictions, index['images']):
        assert entry['classes'] == list(prediction.classes)
        assert entry['scores'] == pytest.approx(prediction.scores, abs=1e-5)
        ids = np.array([CLASSES.index(name) for name in prediction.classes], np.int64)
        expected = pseudo_label(CAMFile(ids, prediction.cam.astype(np.float16), prediction.size),
                                read_image(prediction.source), DEFAULT_BACKGROUND)
        assert np.array_equal(read_label(tmp_path / 'out' / entry['label']), expected)
        assert (tmp_path / 'out' / entry['overlay']).is_file()


def test_images_without_any_class(classifier, photographs, tmp_path, capsys):
    out, high = tmp_path / 'out', ['--score-thr', '0.9999']
    code, said, err = predict(capsys, *classifier, photographs, '--out-dir', out, *high, '--top-k', '0')
    assert (code, err) == (0, '') and '3 without any class' in said and '0.9999 (--score-thr)' in said
    index = json.loads((out / 'predictions.json').read_text())
    assert [image['classes'] for image in index['images']] == [[]] * 3
    assert not any(read_label(out / image['label']).any() for image in index['images'])
    assert [one.classes for one in CAMInferencer(*classifier, score_thr=.9999, top_k=0)(photographs)] == [()] * 3
    # By default the best class is taken, by the command and in Python.
    assert [len(one.classes) for one in CAMInferencer(*classifier, score_thr=.9999)(photographs)] == [1] * 3
    code, said, _ = predict(capsys, *classifier, photographs, '--out-dir', out, *high)
    index = json.loads((out / 'predictions.json').read_text())
    assert code == 0 and 'without any class' not in said
    assert [len(image['classes']) for image in index['images']] == [1] * 3
    cfg = read_config(classifier[0])
    for top_k in (2, 0):  # what the config says
        cfg.model.test_cfg = dict(cfg.model.get('test_cfg') or {}, top_k=top_k)
        found = CAMInferencer(cfg, classifier[1], score_thr=.9999)(photographs)
        assert [len(one.classes) for one in found] == [top_k] * 3


def test_the_threshold_changes_the_labels(classifier, photographs, tmp_path, capsys):
    backgrounds = []
    for threshold in ('0.05', '0.9'):
        out = tmp_path / threshold
        assert predict(capsys, *classifier, photographs / 'b.png', '--out-dir', out, '--score-thr', '0',
                       '--threshold', threshold)[0] == 0
        backgrounds.append((read_label(out / 'labels/b.png') == 0).mean())
    assert backgrounds[0] < backgrounds[1]


@pytest.mark.parametrize(('words', 'message'), [
    (['absent.jpg'], 'absent.jpg: cannot be read'), (['{}/empty'], 'empty: holds no images'),
    (['{}/a.jpg', '--crf'], 'are for classifiers'), (['{}/a.jpg', '--threshold', '.5'], 'are for classifiers'),
    (['{}/a.jpg', '--batch-size', '0'], '--batch-size 0: must be at least 1'),
    (['{}/a.jpg', '--classes', 'a', 'b', 'c'], 'was trained with the classes')])
def test_mistakes(segmentor, photographs, tmp_path, capsys, words, message):
    (photographs / 'empty').mkdir()
    code, _, err = predict(capsys, *segmentor, *(word.format(photographs) for word in words), '--out-dir',
                           tmp_path / 'out')
    assert code == 1 and message in err and err.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_images_are_not_replaced(segmentor, photographs, tmp_path, capsys):
    shutil.copytree(photographs, tmp_path / 'out/labels')
    code, _, err = predict(capsys, *segmentor, tmp_path / 'out/labels', '--out-dir', tmp_path / 'out')
    assert code == 1 and 'choose another --out-dir' in err


@pytest.mark.parametrize('out', ['.', 'out', 'sub/new'])
def test_nothing_is_written_among_the_images(segmentor, photographs, capsys, out):
    code, _, err = predict(capsys, *segmentor, photographs, '--out-dir', photographs / out)
    assert code == 1 and 'would be taken for images' in err and err.count('\n') == 1
    assert sorted(path.name for path in photographs.iterdir()) == ['a.jpg', 'b.png', 'sub']


def test_a_model_that_refines_cams_predicts_nothing(repo_root, photographs, tmp_path, capsys):
    code, _, err = predict(capsys, 'irnet_efflite0_small', 'x.pth', photographs, '--out-dir', tmp_path / 'out')
    assert code == 1 and 'use mmwsss refine' in err


def test_checkpoint_without_names_wants_them(segmentor, tmp_path):
    state = torch.load(segmentor[1], weights_only=True)['state_dict']
    torch.save(dict(state_dict=state), tmp_path / 'nameless.pth')
    with pytest.raises(UserError, match='holds no class names'):
        SegInferencer(segmentor[0], tmp_path / 'nameless.pth')
    assert SegInferencer(segmentor[0], tmp_path / 'nameless.pth', CLASSES).classes == CLASSES


@pytest.mark.parametrize('kind', ['segmentor', 'classifier'])
def test_show_dir_of_a_test(kind, segmentor, classifier, generated_root, tmp_path, capsys):
    config, checkpoint = segmentor if kind == 'segmentor' else classifier
    state = torch.load(checkpoint, weights_only=True)
    names = (generated_root / 'classes.txt').read_text().split()
    state['meta']['dataset_meta']['classes'] = names if kind == 'classifier' else ['background', *names]
    torch.save(state, tmp_path / 'model.pth')
    with pytest.raises(SystemExit) as stop:
        main(['test', str(config), str(tmp_path / 'model.pth'), '--data-root', str(generated_root), '--split', 'val',
              '--work-dir', str(tmp_path / 'work'), '--show-dir', str(tmp_path / 'show')])
    assert stop.value.code == 0, capsys.readouterr().err
    assert len(list((tmp_path / 'show').rglob('vis_image/*.png'))) == 4

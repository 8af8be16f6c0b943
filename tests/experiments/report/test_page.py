import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from mmwsss.cli.main import main
from mmwsss.datasets import DataFolder
from mmwsss.evaluation.label_metrics import confusion_matrix, load_mask, scores_from_confusion
from mmwsss.evaluation.threshold_curve import label_from_cam
from mmwsss.experiments.report.page import write_report
from mmwsss.structures.cam_file import cam_path, read_cam
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason='needs chromium')


def browse(path, fragment=''):
    """What a browser makes of the page: the elements after the script has run, and what it says in its console."""
    done = subprocess.run([BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
                           '--enable-logging=stderr', '--virtual-time-budget=4000', '--dump-dom',
                           f'file://{path}{fragment}'], capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if 'CONSOLE' in line]


def test_the_page_needs_nothing_else(make_run, generated_root):
    run = make_run(generated_root)
    text = write_report([run]).read_text()
    assert (run / 'report.html').read_text() == text
    for found in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert found.startswith('#')
    assert 'http' not in text.replace('http-equiv', '') and '@import' not in text and 'url(' not in text
    assert '&lt;train&gt;' in text and '<train>' not in text
    assert all(name in text for name in ('classifier', 'eval_segmentor', 'Loss of classifier', 'IoU of every class'))


def test_a_curve_of_one_point_is_drawn(make_run, generated_root):
    """A line of no length is only seen with round ends."""
    run = make_run(generated_root)
    scalars = run / 'classifier/run/vis_data/scalars.json'
    scalars.write_text('{"loss": 1.5, "step": 1}\n')
    text = write_report([run]).read_text()
    assert text.count('<polyline class="s0 point"') == 1 and '<polyline class="s0" ' in text
    assert '.point { stroke-linecap: round;' in text


def test_names_of_files_are_no_markup(make_run, generated_copy):
    stem = (generated_copy / 'ImageSets/train.txt').read_text().split()[0]
    bad = 'a&<script>alert(1)<'
    for path in generated_copy.rglob(f'{stem}.*'):
        path.rename(path.with_name(bad + path.suffix))
    for path in (generated_copy / 'ImageSets/train.txt', generated_copy / 'labels.json'):
        path.write_text(path.read_text().replace(stem, bad))
    text = write_report([make_run(generated_copy)]).read_text()
    assert bad not in text and text.count('<script') == 2
    payload = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert bad in [item['stem'] for item in payload['items']]


def test_command(make_run, generated_root, tmp_path, capsys):
    runs = [str(make_run(generated_root, name, seed)) for seed, name in enumerate('ab')]
    with pytest.raises(SystemExit) as stop:
        main(['report', *runs, '--out', str(tmp_path / 'new/both.html'), '--num-images', '4'])
    assert stop.value.code == 0 and 'both.html: ' in capsys.readouterr().out
    text = (tmp_path / 'new/both.html').read_text()
    assert '4 of 16 images, a sample evenly spread' in text and 'b: eval_cam' in text
    for words in ([runs[0], '--out', 'a.txt'], [runs[0], '--num-images', '0'], [str(tmp_path / 'nothing')]):
        with pytest.raises(SystemExit) as stop:
            main(['report', *words])
        assert stop.value.code == 1 and capsys.readouterr().err.startswith('error: ')


def test_folders_of_one_name_have_titles_of_their_own(make_run, generated_root):
    runs = [make_run(generated_root, f'{name}/run') for name in 'AB']
    for words, titles in ((runs, ['A/run', 'B/run']),
                          ([f'cam={runs[0]},{runs[1]}'], ['cam (A/run)', 'cam (B/run)'])):
        text = write_report(words).read_text()
        assert re.findall('<h3>(.*)</h3>', text)[:2] == titles


def test_ten_thousand_images_stay_below_30_mb(make_run, generated_root):
    """The largest page: as many images as there may be, of which none is small."""
    from mmwsss.experiments.report import gallery
    assert gallery.MAX_BYTES + 1_500_000 < 30e6
    run = make_run(generated_root)
    payload = json.loads(re.search(r'id="data">(.*?)</script>', write_report([run]).read_text(), re.DOTALL)[1])
    for item in payload['items']:
        assert gallery._size(item) > .9 * len(json.dumps(item, separators=(',', ':')))


def miou_at(run, data, threshold):
    """The mIoU that the page has to say, from full-size files."""
    confusion = 0
    for stem in data.stems('train'):
        file = read_cam(cam_path(run / 'cam/cam', stem))
        # The page has the CAMs in 8 bits.
        cam = np.round(255 * file.cam.astype(np.float32)).astype(np.uint8)
        label = label_from_cam(np.asarray(resize_cam(cam.astype(np.float32), file.size)) / 255, file.classes, threshold)
        confusion = confusion + confusion_matrix(label, load_mask(data.mask_path(stem), label.shape, 3), 3)
    return 100 * scores_from_confusion(confusion)['mIoU']


@needs_browser
@pytest.mark.parametrize('threshold', [.3, .55])
def test_the_slider_makes_the_labels_of_the_package(make_run, generated_root, threshold):
    run, data = make_run(generated_root), DataFolder.find(generated_root)
    dom, messages = browse(write_report([run]), f'#t={threshold}')
    assert messages == []
    found = re.search(r'id="total"[^>]*>mIoU ([\d.]+)&nbsp;% at this threshold, on (\d+) images', dom)
    # The images are as small as the page wants them, so nothing is lost but bits of the CAMs.
    assert int(found[2]) == 12 and float(found[1]) == pytest.approx(miou_at(run, data, threshold), abs=.3)
    assert dom.count('<article') == 16 and dom.count('<canvas') > 16 * 2
    assert f'threshold {threshold:.2f}, IoU' in dom and 'worst label first' in dom


@needs_browser
def test_two_folders_without_masks(make_run, generated_copy):
    shutil.rmtree(generated_copy / 'SegmentationClass')
    runs = [make_run(generated_copy, name, seed) for seed, name in enumerate('ab')]
    dom, messages = browse(write_report(runs))
    assert messages == [] and 'IoU of every class' not in dom and '>ground truth<' not in dom
    assert re.search(r'id="total"[^>]*>16 images<', dom) and 'threshold 0.40<' in dom
    assert dom.count('<h5>a</h5>') == dom.count('<h5>b</h5>') == 16 and 'worst' not in dom.split('<script')[0]


def test_folder_of_something_else(tmp_path):
    with pytest.raises(UserError, match='no work folder of a pipeline'):
        write_report([tmp_path])

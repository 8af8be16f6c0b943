"""Numbers and names that the command line repeats, since importing their modules takes seconds."""
from mmwsss.cli import convert_checkpoint, label, saliency
from mmwsss.cli.main import tool
from mmwsss.converters import SOURCES
from mmwsss.postprocessing import CRF_PRESETS, defaults
from mmwsss.saliency.onnx_saliency import INPUT_SIZE
from mmwsss.saliency.saliency_maps import DEFAULT_BATCH_SIZE


def test_they_are_those_of_the_package(capsys, monkeypatch):
    assert set(label.UNARIES) == set(CRF_PRESETS)
    assert (saliency.BATCH_SIZE, saliency.SIZE) == (DEFAULT_BATCH_SIZE, INPUT_SIZE)
    assert {name: source.title for name, source in SOURCES.items()} == convert_checkpoint.SOURCES


def test_help_of_label_has_the_default_thresholds(capsys, monkeypatch):
    monkeypatch.setattr('sys.argv', ['label', '--help'])
    monkeypatch.setenv('COLUMNS', '1000')
    try:
        tool('label')()
    except SystemExit:
        text = capsys.readouterr().out
    crf = defaults.DEFAULT_CRF_BACKGROUND
    assert f'default {defaults.DEFAULT_BACKGROUND["threshold"]}, with --crf {crf["label"]["threshold"]}' in text
    assert f'softmax: {crf["softmax"]["alpha"]}' in text

import pytest

from mmwsss.cli.main import main
from mmwsss.converters import text_embeddings


@pytest.mark.parametrize(('words', 'classes', 'background'), [
    (['--classes', 'cat', 'sofa,couch'], [('cat', ), ('sofa', 'couch')], text_embeddings.BACKGROUND),
    (['--data-root', '{}', '--background'], [('horse', ), ('sea lion', )], []),
    (['--classes', 'cat', '--background', 'sky', '--templates', 'a {}'], [('cat', )], ['sky'])])
def test_arguments(tmp_path, monkeypatch, capsys, words, classes, background):
    (tmp_path / 'classes.txt').write_text('horse\nsea lion\n')
    calls = []

    def embed(model, texts, templates):
        import torch
        calls.append((model, texts, templates))
        return torch.zeros(len(texts), 5)

    monkeypatch.setattr(text_embeddings, 'embed_texts', embed)
    out = tmp_path / 'texts.npy'
    with pytest.raises(SystemExit) as stop:
        main(['convert', 'text-embeddings', 'some/clip', '--out', str(out),
              *[str(tmp_path) if word == '{}' else word for word in words]])
    assert stop.value.code == 0 and out.is_file()
    (model, texts, templates), = calls
    assert model == 'some/clip' and texts == [*classes, *((name, ) for name in background)]
    assert list(templates) == (['a {}'] if '--templates' in words else list(text_embeddings.TEMPLATES))
    assert f'{len(texts)} texts ({len(classes)} classes)' in capsys.readouterr().out

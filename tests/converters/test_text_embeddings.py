import json

import numpy as np
import pytest
import torch

transformers = pytest.importorskip('transformers', reason='pip install mmwsss[transformers]')

from mmwsss.converters.text_embeddings import embed_texts, make_text_embeddings  # noqa: E402
from mmwsss.models.heads.text_cam_head import read_embeddings  # noqa: E402
from mmwsss.utils.errors import UserError  # noqa: E402


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """A tiny random CLIP whose tokenizer knows letters."""
    folder = tmp_path_factory.mktemp('clip')
    letters = 'abcdefghijklmnopqrstuvwxyz.,'
    tokens = [*letters, *(f'{letter}</w>' for letter in letters), '<|startoftext|>', '<|endoftext|>']
    (folder / 'vocab.json').write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    transformers.CLIPTokenizer(str(folder / 'vocab.json'), str(folder / 'merges.txt')).save_pretrained(folder)
    end = tokens.index('<|endoftext|>')
    text = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
                vocab_size=len(tokens), max_position_embeddings=20, bos_token_id=end - 1, eos_token_id=end,
                pad_token_id=end)
    vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32,
                  patch_size=8)
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    transformers.CLIPModel(config).save_pretrained(folder)
    return folder


@torch.no_grad()
def one(clip, sentence):
    """The embedding of a sentence, alone and without padding."""
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    ids = transformers.AutoTokenizer.from_pretrained(clip)([sentence], return_tensors='pt')
    states = model.text_model(input_ids=ids['input_ids']).pooler_output
    embedding = model.text_projection(states)[0]
    return embedding / embedding.norm()


def test_mean_over_synonyms_and_templates(clip):
    result = embed_texts(clip, [('cat', 'tabby'), ('dog',)], ('a {}.', 'one {}'))
    parts = [one(clip, sentence) for sentence in ('a cat.', 'one cat', 'a tabby.', 'one tabby')]
    expected = sum(parts) / 4
    torch.testing.assert_close(result[0], expected / expected.norm(), rtol=1e-4, atol=1e-5)
    expected = one(clip, 'a dog.') + one(clip, 'one dog')
    torch.testing.assert_close(result[1], expected / expected.norm(), rtol=1e-4, atol=1e-5)


def test_file(clip, tmp_path):
    out = tmp_path / 'new' / 'texts.npy'
    assert make_text_embeddings(clip, ['cat', ('dog', 'puppy')], out, background=['sky'], templates=['a {}']) == (3, 12)
    written = read_embeddings(out)
    torch.testing.assert_close(written, embed_texts(clip, [('cat',), ('dog', 'puppy'), ('sky',)], ['a {}']))
    assert np.load(out, allow_pickle=False).dtype == np.float32
    make_text_embeddings(clip, ['cat'], tmp_path / 'b.npy', background=())
    assert len(read_embeddings(tmp_path / 'b.npy')) == 1


def test_long_names_are_cut(clip):
    assert embed_texts(clip, [('x' * 100,)], ('{}',)).isfinite().all()


@pytest.mark.parametrize('kwargs, message', [
    (dict(classes=[]), 'at least one class'), (dict(classes=['']), 'no empty name'),
    (dict(classes=[()]), 'no empty name'), (dict(classes=['cat'], templates=['a cat']), 'where the name goes'),
    (dict(classes=['cat'], out='texts.txt'), 'texts.txt'), (dict(classes=['cat'], model='/no/where'), '/no/where')])
def test_mistakes(clip, tmp_path, kwargs, message):
    arguments = {'model': clip, 'out': tmp_path / 'a.npy', **kwargs}
    with pytest.raises(UserError, match=message):
        make_text_embeddings(**arguments)


def test_folder_without_a_text_model(tmp_path, clip):
    config = transformers.CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                           num_attention_heads=2, image_size=32, patch_size=8)
    transformers.CLIPVisionModel(config).save_pretrained(tmp_path)
    for name in ('tokenizer.json', 'tokenizer_config.json'):
        (tmp_path / name).write_bytes((clip / name).read_bytes())
    with pytest.raises(UserError, match='text model'):
        make_text_embeddings(tmp_path, ['cat'], tmp_path / 'a.npy')

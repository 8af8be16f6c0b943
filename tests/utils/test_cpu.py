import platform

import pytest

from mmwsss.engine import mixed_precision
from mmwsss.utils import cpu


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    def write(text):
        (tmp_path / 'cpuinfo').write_text(text)
        monkeypatch.setattr(cpu, 'CPUINFO', tmp_path / 'cpuinfo')
        monkeypatch.setattr(platform, 'system', lambda: 'Linux')
        cpu.computes_bfloat16.cache_clear()
    yield write
    cpu.computes_bfloat16.cache_clear()


@pytest.mark.parametrize(('text', 'expected'), [
    ('processor\t: 0\nflags\t\t: fpu avx2 avx512f\n', False), ('flags\t\t: fpu avx512f avx512_bf16\n', True),
    ('flags : amx_bf16 amx_tile\n', True), ('Features\t: fp asimd bf16\n', True), ('Features\t: fp asimd\n', False),
    ('processor : 0\n', None)])
def test_what_the_system_tells(cpuinfo, text, expected):
    cpuinfo(text)
    assert cpu.computes_bfloat16() is expected


def test_where_it_does_not_tell(cpuinfo, monkeypatch, tmp_path):
    cpuinfo('')
    monkeypatch.setattr(cpu, 'CPUINFO', tmp_path / 'absent')
    assert cpu.computes_bfloat16() is None
    cpu.computes_bfloat16.cache_clear()
    monkeypatch.setattr(platform, 'system', lambda: 'Darwin')
    assert cpu.computes_bfloat16() is None


@pytest.mark.parametrize(('able', 'gpu', 'warns'), [(False, False, True), (True, False, False), (None, False, False),
                                                    (False, True, False)])
def test_warning_of_slow_mixed_precision(monkeypatch, able, gpu, warns):
    messages = []
    monkeypatch.setattr(mixed_precision, 'computes_bfloat16', lambda: able)
    monkeypatch.setattr(mixed_precision.torch.cuda, 'is_available', lambda: gpu)
    monkeypatch.setattr(mixed_precision, 'print_log', lambda message, *args, **kwargs: messages.append(message))
    assert mixed_precision.warn_of_slow_amp('--amp') is warns
    assert len(messages) == warns and all('--amp: ' in text and 'times as long' in text for text in messages)

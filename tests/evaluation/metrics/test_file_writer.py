import unicodedata

import pytest
from two_ranks import fork, group

from mmwsss.evaluation.metrics.file_writer import FileWriter


class TextWriter(FileWriter):
    count_name = 'num_texts'

    def write(self, sample, stem):
        self.out_dir.mkdir(exist_ok=True)
        (self.out_dir / f'{stem}.txt').write_text(sample['text'])


def test_files_and_count(tmp_path):
    writer = TextWriter(str(tmp_path), prefix='p')
    writer.process({}, [dict(stem='a', text='1'), dict(img_path='dir/b.jpg', text='2')])
    assert writer.evaluate(9) == {'p/num_texts': 2}
    assert writer.evaluate(9) == {'p/num_texts': 0}
    assert (tmp_path / 'a.txt').read_text() == '1' and (tmp_path / 'b.txt').read_text() == '2'


def test_an_image_that_a_sampler_repeats_is_one_file(tmp_path):
    writer = TextWriter(str(tmp_path))
    writer.process({}, [dict(stem=stem, text='1') for stem in 'aba'])
    assert writer.evaluate(2) == {'num_texts': 2}


def test_names_are_composed(tmp_path):
    composed = 'm\u00e4dchen'
    writer = TextWriter(str(tmp_path))
    writer.process({}, [dict(img_path=f'dir/{unicodedata.normalize("NFD", composed)}.jpg', text='')])
    assert [path.name for path in tmp_path.iterdir()] == [f'{composed}.txt']


def test_leftovers_go_before_the_first_file_is_written(tmp_path, leftover):
    writer = TextWriter(str(tmp_path))
    gone, stays = leftover(tmp_path / 'sub/a.txt'), leftover(tmp_path / 'a.txt', alive=True)
    writer.process({}, [dict(stem='a', text='1')])
    assert stays.exists() and not gone.exists()
    later = leftover(tmp_path / 'a.txt')
    writer.process({}, [dict(stem='b', text='1')])
    assert later.exists()  # the folder is looked through once only


def test_write_has_to_be_implemented(tmp_path):
    with pytest.raises(TypeError, match='abstract'):
        FileWriter(str(tmp_path))


def run_rank(rank, folder):
    writer = TextWriter(str(folder / 'out'))
    with group(rank, folder):
        writer.process({}, [dict(stem=f'{rank}{i}', text='') for i in range(1 + 2 * rank)])
        assert writer.evaluate(4) == dict(num_texts=4)


def test_two_ranks(tmp_path):
    fork(run_rank, tmp_path)
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['00.txt', '10.txt', '11.txt', '12.txt']

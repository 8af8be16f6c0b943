"""The table of a study: mean and spread over seeds, difference to the baseline, cost."""
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from mmwsss.experiments.table_text import markdown_table, mean, optional_text, spread_text, std

HEADER = ('Row', 'Test', 'Seeds', 'mIoU % (oracle)', 'Difference', 'Lowest class %', 'm_FN', 'm_FP', 'Precision %',
          'Recall %', 'Threshold (oracle)', '1 / 2 / 3+ classes', 's / image', 'Train step')
ALIGN = 'll' + 'r' * (len(HEADER) - 2)  # two columns of text, the others are numbers
AFTER_MIOU = 4  # where the column with CRF goes, which only tables with a CRF have
MEANS = ('m_FN', 'm_FP', 'precision', 'recall', 'threshold')


def study_lines(tests: Sequence[tuple[str, str, Sequence[int], str]],
                entries: Mapping[tuple[str, str, int], dict[str, Any]], baseline: str,
                over_tests: Collection[str] = ()) -> list[dict[str, Any]]:
    """Sums the results of a study up, one line per row and test.

    Args:
        tests: (row, test, seeds that are planned, row that it is compared with) of every line, in the order of the
            table.
        entries: {(row, test, seed): the json of a test, see :meth:`mmwsss.experiments.study.study.Study.entry`}.
        baseline: The row whose training steps the others' are compared with.
        over_tests: The rows that get one line more, over their tests, see :func:`_over_tests`.

    Returns:
        Dicts of json values; fractions, not percent; ``None`` where nothing can be computed:

        * ``row``, ``test``, ``seeds`` (those with results), ``planned_seeds``.
        * ``mIoU``: ``mean``, and ``std``, the standard deviation over the seeds (n - 1; ``None`` for one seed). Each is
          at its own best threshold, chosen on the ground truth: ``oracle_threshold`` is true, but for segmentors, which
          have none.
        * ``per_class``: {'background' or class: IoU, mean over the seeds}.
        * ``m_FN``, ``m_FP``, ``precision``, ``recall``, ``threshold``: means over the seeds.
        * ``by_num_classes``: {'1', '2', '3+': mIoU of the images with so many classes, at the same threshold; mean over
          the seeds that have it}.
        * ``with_crf``: mIoU with the row's CRF at that threshold, mean over the seeds; ``None`` without a CRF.
        * ``difference``: mean of mIoU minus that of the row ``compared_with`` in the same test, over the seeds that
          both have.
        * ``seconds_per_image``: wall time of the test loop, mean over the seeds.
        * ``train_seconds_per_iteration``: median of an iteration, mean over the seeds; ``train_step_ratio``: relative
          to the baseline's, over the seeds that both have. ``None`` for rows that are not trained.
    """
    times = {(row, seed): entry['training']['seconds_per_iteration'] for (row, _, seed), entry in entries.items()
             if not entry['setting']['checkpoint_of']}
    lines = []
    for row, test, planned, compared_with in tests:
        found = {seed: entries[row, test, seed] for seed in planned if (row, test, seed) in entries}
        mious = {seed: entry['metrics']['mIoU'] for seed, entry in found.items()}
        base = {seed: entry['metrics']['mIoU'] for (name, kind, seed), entry in entries.items()
                if (name, kind) == (compared_with, test)}
        own_times = {seed: times.get((row, seed)) for seed in found}
        base_times = {seed: time for (name, seed), time in times.items() if name == baseline}
        own, other = _common(mious, base)
        step, base_step = (mean(values) for values in _common(own_times, base_times))
        lines.append(dict(
            row=row, test=test, seeds=list(found), planned_seeds=list(planned),
            oracle_threshold=all(entry['metrics'].get('oracle_threshold', True) for entry in found.values()),
            compared_with=compared_with,
            mIoU=dict(mean=mean(mious.values()), std=std(mious.values())),
            difference=mean(own) - mean(other) if own else None,
            **{name: mean(entry['metrics'][name] for entry in found.values()) for name in MEANS},
            per_class=_means_of(found.values(), 'per_class'),
            by_num_classes=_means_of(found.values(), 'by_num_classes'),
            with_crf=mean(entry['metrics'].get('with_crf', {}).get('mIoU') for entry in found.values()),
            seconds_per_image=mean(entry['testing']['seconds_per_image'] for entry in found.values()),
            train_seconds_per_iteration=mean(own_times.values()),
            train_step_ratio=step / base_step if step and base_step else None))
    for row in over_tests:
        own = [number for number, line in enumerate(lines) if line['row'] == row]
        lines.insert(own[-1] + 1, _over_tests([lines[number] for number in own], entries))
    return lines


def _over_tests(lines: Sequence[Mapping[str, Any]],
                entries: Mapping[tuple[str, str, int], dict[str, Any]]) -> dict[str, Any]:
    """Returns the line of a row over all of its tests.

    Of every seed that has all of them the mean of mIoU and the standard deviation with n, as in Table 5 of RCM + MAM;
    then the means of both over the seeds. ``difference`` is the mean of the tests'; all else is ``None`` or empty.
    """
    first = lines[0]
    seeds = [seed for seed in first['planned_seeds'] if all(seed in line['seeds'] for line in lines)]
    values = [[entries[line['row'], line['test'], seed]['metrics']['mIoU'] for line in lines] for seed in seeds]
    differences = [line['difference'] for line in lines]
    return dict(
        dict.fromkeys(first), row=first['row'], test=f'over {len(lines)} tests', seeds=seeds,
        planned_seeds=first['planned_seeds'], oracle_threshold=first['oracle_threshold'],
        compared_with=first['compared_with'], per_class={}, by_num_classes={},
        mIoU=dict(mean=mean(map(statistics.fmean, values)), std=mean(map(statistics.pstdev, values))),
        difference=None if None in differences else statistics.fmean(differences))


def _means_of(entries: Iterable[Mapping[str, Any]], name: str) -> dict[str, float | None]:
    """Returns the mean over the entries of every value of the metric ``name``, over those that have one."""
    values: dict[str, list[float | None]] = {}
    for entry in entries:
        for key, value in entry['metrics'].get(name, {}).items():
            values.setdefault(key, []).append(value)
    return {key: mean(found) for key, found in values.items()}


def _common(own: Mapping[int, float | None], other: Mapping[int, float | None]) -> tuple[list[float], list[float]]:
    """Returns the values of the seeds for which both have one."""
    seeds = [seed for seed in own if own[seed] is not None and other.get(seed) is not None]
    return [own[seed] for seed in seeds], [other[seed] for seed in seeds]


def study_markdown(lines: Sequence[Mapping[str, Any]], entries: Sequence[Mapping[str, Any]], baseline: str,
                   title: str) -> str:
    """Lays the table out in markdown, with columns that line up in a terminal too.

    Args:
        lines: From :func:`study_lines`.
        entries: The jsons that they sum up; what these were measured with is said below the table.
        baseline: The row that the others are compared with, but for those that name another.
        title: The heading.
    """
    cells, before = [], None
    for line in lines:
        cells.append(list(_cells(line, is_first=line['row'] != before)))
        before = line['row']
    header = HEADER
    if not _has_oracle(lines):
        header = tuple(name.removesuffix(' (oracle)') for name in HEADER)
    align = ALIGN
    if any(line['with_crf'] is not None for line in lines):
        for row, line in zip(cells, lines):
            row.insert(AFTER_MIOU, optional_text(line['with_crf'], '.2f', 100))
        header, align = (*header[:AFTER_MIOU], 'with CRF %', *header[AFTER_MIOU:]), align + 'r'
    text = markdown_table(header, cells, align)
    notes = '\n'.join(f'- {note}' for note in _notes(lines, entries, baseline))
    return f'## {title}\n\n{text}\n\n{notes}\n'


def _has_oracle(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether thresholds were chosen on ground truth; a row without result does not say."""
    done = [line for line in lines if line['seeds']]
    return not done or any(line['oracle_threshold'] for line in done)


def _cells(line: Mapping[str, Any], is_first: bool) -> tuple[str, ...]:
    seeds, planned, miou = len(line['seeds']), len(line['planned_seeds']), line['mIoU']
    difference = '' if line['row'] == line['compared_with'] else optional_text(line['difference'], '+.2f', 100)
    ratio = optional_text(line['train_step_ratio'], '.2f')
    return (line['row'] if is_first else '', line['test'],
            f'{seeds}' if seeds == planned else f'{seeds} of {planned}',
            spread_text(miou['mean'], miou['std'], '.2f', 100), difference, _lowest_class(line['per_class']),
            optional_text(line['m_FN'], '.3f'), optional_text(line['m_FP'], '.3f'),
            optional_text(line['precision'], '.2f', 100), optional_text(line['recall'], '.2f', 100),
            optional_text(line['threshold'], '.2f'),
            ' / '.join(optional_text(miou, '.1f', 100) for miou in line['by_num_classes'].values()) or '-',
            optional_text(line['seconds_per_image'], '.3f'),
            ratio if ratio == '-' else f'{ratio} x')


def _lowest_class(per_class: Mapping[str, float | None]) -> str:
    known = {name: iou for name, iou in per_class.items() if iou is not None}
    if not known:
        return '-'
    name = min(known, key=known.__getitem__)
    return f'{name} {100 * known[name]:.1f}'


def _notes(lines: Sequence[Mapping[str, Any]], entries: Sequence[Mapping[str, Any]], baseline: str) -> list[str]:
    def values(name: str) -> str:
        return ', '.join(sorted({str(entry['setting'][name]) for entry in entries}))

    if not entries:
        return ['no results yet']
    evaluated = f'Evaluated on {values("num_images")} images of {values("split")}'
    if _has_oracle(lines):
        evaluated += (f', classes chosen by {values("class_filter")}. Every mIoU is at the best of all thresholds, '
                      'chosen on the ground truth (oracle); the other figures are at the same one')
    notes = [
        f'{evaluated}.',
        'mIoU: mean ± standard deviation (n - 1) over the seeds; all else: means over the seeds. Difference: to '
        f'{baseline}, in points, over the seeds that both have.',
        'Lowest class: the one with the lowest IoU, which a mean can hide.',
        '1 / 2 / 3+ classes: mIoU % of the images with so many, at the same threshold.',
        's / image: wall time of the test loop. Train step: median time of a training iteration, relative to '
        f'{baseline}; - for rows that test the checkpoints of another.',
        f'Measured with mmwsss {values("version")} on {values("device")}; threads: {values("threads")}.']
    if any(line['with_crf'] is not None for line in lines):
        notes.append('with CRF: mIoU with a dense CRF, at the threshold that is best without it.')
    if any(line['test'].startswith('over ') for line in lines):
        notes.append('Lines over several tests: mean ± standard deviation (n) of mIoU over the tests, mean over the '
                     'seeds that have all.')
    others = {line['row']: line['compared_with'] for line in lines
              if line['compared_with'] not in (baseline, line['row'])}
    notes += [f'{row}: the difference is to {other}.' for row, other in others.items()]
    if any(len({str(entry['setting'][name]) for entry in entries}) > 1 for name in ('device', 'threads')):
        notes.append('Times of rows measured with different devices or numbers of threads cannot be compared.')
    if any(len(line['seeds']) < len(line['planned_seeds']) for line in lines):
        notes.append('Not all seeds are there: run the same command again for the rest.')
    return notes

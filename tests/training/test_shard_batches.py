"""How the batches of an optimizer step are dealt out to several processes: all of them, each once, evenly."""

from hypothesis import given, settings
from hypothesis import strategies as some

from rolesum.training.batching import (
    SampleRef,
    batches_per_process,
    optimizer_steps,
    shard_batches,
    token_budget_batches,
)

SIZES = some.lists(some.integers(1, 6), min_size=1, max_size=23)  # rows of each batch
PROCESSES = some.integers(1, 5)
ACCUMULATION = some.sampled_from([1, 2, 3, 4, 7, 100])


def schedule_of(sizes):
    """Batches of these many draws, each draw another index."""
    counter = iter(range(sum(sizes)))
    return [[SampleRef(0, index := next(counter), seed=1000 + index) for _ in range(size)] for size in sizes]


def steps_as_the_trainer_cuts_them(steps, processes):
    """Each process's batches, cut as the Trainer does it: by the number of batches of a full step."""
    size = batches_per_process(steps[0], processes)
    ranks = [shard_batches(steps, processes, rank) for rank in range(processes)]
    return [[mine[start : start + size] for start in range(0, len(mine), size)] for mine in ranks]


@given(SIZES, ACCUMULATION)
def test_the_steps_hold_every_batch_in_order_and_only_the_last_may_hold_fewer(sizes, accumulation):
    schedule = schedule_of(sizes)
    steps = optimizer_steps(schedule, accumulation)
    assert [batch for step in steps for batch in step] == schedule
    assert all(len(step) == accumulation for step in steps[:-1])
    assert 1 <= len(steps[-1]) <= accumulation


@settings(max_examples=300)
@given(SIZES, ACCUMULATION, PROCESSES)
def test_every_counted_draw_falls_to_one_process_once_in_its_own_step(sizes, accumulation, processes):
    steps = optimizer_steps(schedule_of(sizes), accumulation)
    ranks = steps_as_the_trainer_cuts_them(steps, processes)
    for number, step in enumerate(steps):
        counted = [draw for cut in ranks for batch in cut[number] for draw in batch if draw.has_loss]
        assert sorted(draw.index for draw in counted) == sorted(draw.index for batch in step for draw in batch)
        assert all(draw.seed == 1000 + draw.index for draw in counted)  # its noise goes with it


@settings(max_examples=300)
@given(SIZES, ACCUMULATION, PROCESSES)
def test_in_every_step_all_processes_have_the_same_number_of_batches(sizes, accumulation, processes):
    steps = optimizer_steps(schedule_of(sizes), accumulation)
    ranks = steps_as_the_trainer_cuts_them(steps, processes)
    assert all(len(cut) == len(steps) for cut in ranks)
    for number, step in enumerate(steps):
        assert {len(cut[number]) for cut in ranks} == {batches_per_process(step, processes)}


@given(SIZES, ACCUMULATION, PROCESSES)
def test_full_steps_have_the_same_number_of_batches_and_the_last_no_more(sizes, accumulation, processes):
    steps = optimizer_steps(schedule_of(sizes), accumulation)
    numbers = [batches_per_process(step, processes) for step in steps]
    assert len(set(numbers[:-1])) <= 1
    assert 1 <= numbers[-1] <= numbers[0]
    assert numbers[0] < len(steps[0]) / processes + 1  # no process computes more than its share, rounded up


@settings(max_examples=300)
@given(SIZES, ACCUMULATION, PROCESSES)
def test_a_dealt_batch_is_a_batch_or_a_run_of_its_rows_or_one_idle_draw(sizes, accumulation, processes):
    """So it is never over the token budget."""
    schedule = schedule_of(sizes)
    whole = {draw.index: batch for batch in schedule for draw in batch}
    for rank in range(processes):
        for batch in shard_batches(optimizer_steps(schedule, accumulation), processes, rank):
            assert batch
            if all(draw.has_loss for draw in batch):
                source = whole[batch[0].index]
                start = source.index(batch[0])
                assert batch == source[start : start + len(batch)]
            else:
                assert len(batch) == 1


@given(SIZES, ACCUMULATION)
def test_one_process_computes_the_batches_as_they_are(sizes, accumulation):
    schedule = schedule_of(sizes)
    assert shard_batches(optimizer_steps(schedule, accumulation), 1, 0) == schedule


@given(some.integers(1, 40), PROCESSES)
def test_a_single_batch_is_cut_evenly_and_leaves_nobody_idle_who_could_have_a_row(rows, processes):
    steps = [schedule_of([rows])]
    parts = [shard_batches(steps, processes, rank)[0] for rank in range(processes)]
    sizes = [sum(draw.has_loss for draw in part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(
    some.lists(some.integers(40, 400), min_size=1, max_size=30),
    some.integers(1, 3),
    ACCUMULATION,
    PROCESSES,
)
def test_a_real_schedules_steps_do_not_depend_on_the_processes(lengths, epochs, accumulation, processes):
    schedule = token_budget_batches(lengths, 800, seed=1, epochs=epochs)
    ranks = [shard_batches(optimizer_steps(schedule, accumulation), processes, rank) for rank in range(processes)]
    drawn = [(draw.epoch, draw.index) for mine in ranks for batch in mine for draw in batch if draw.has_loss]
    assert sorted(drawn) == [(epoch, index) for epoch in range(epochs) for index in range(len(lengths))]

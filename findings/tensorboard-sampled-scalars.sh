#!/usr/bin/env bash
# TensorBoard's EventAccumulator gives a random 10,000 of a run's scalars.
#
# Guess:   Scalars("loss") is every value that was logged. Thinning out is for the curves in the browser.
# Seen:    of 20,000 steps there are 10,000, drawn by a random generator with a fixed seed, without the first steps and
#          with the last; of 10,001 one is missing. No warning. `size_guidance={"scalars": 0}` gives all.
# With:    tensorboard 2.21.0
# Matters: a best value, the loss at a given step, or tokens summed over a run come out wrong, and only for runs that
#          are long enough. Runs of 20,000 and 20,001 steps lack different steps, so that their rows put side by side do
#          not match.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check tensorboard==2.21.0

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

print("tensorboard", version("tensorboard"))

def read(count, **options):
    events = EventAccumulator(f"run-{count}", **options)
    events.Reload()
    return [scalar.step for scalar in events.Scalars("loss")]

steps = {}
for count in (10_000, 10_001, 20_000, 20_001):
    writer = EventFileWriter(f"run-{count}")
    for step in range(count):
        value = Summary.Value(tag="loss", simple_value=step)
        writer.add_event(Event(step=step, wall_time=step, summary=Summary(value=[value])))
    writer.close()
    steps[count] = loss = read(count)
    print(count, "logged,", len(loss), "read: the first are", loss[:4], "the last is", loss[-1])
    assert len(loss) == 10_000 and loss[-1] == count - 1 and loss == sorted(loss)
    assert read(count, size_guidance={"scalars": 0}) == list(range(count))
assert steps[20_000][0] > 0
assert steps[20_000][:-1] != steps[20_001][:-1]
PYTHON

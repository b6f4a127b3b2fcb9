#!/usr/bin/env bash
# Reasoning Gym rewards a wrong number that holds the right digits, and more than the right number in another form.
#
# Guess:   the default score compares answers: a wrong number gets 0, and the right one in another form 1 or a part.
# Seen:    an answer that holds the right one as a piece of text gets the share of its letters that the piece has. Where
#          3 is right, 13 and -3 get 0.5, 3.0 gets 0.33, and "three" 0. Where 2842 is right, 12842 gets 0.8,
#          and 2,842 gets 0. Of the 100 tasks that were tried, 33 use this score, among them gcd, lcm, count_primes,
#          number_sequence and simple_equations.
# With:    reasoning_gym 0.1.25
# Matters: it is a reward to train with. Digits in front of a right number cost little, and an answer that writes many
#          numbers gets something nearly always. Counting an answer as right from 0.5 on counts wrong ones.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check reasoning_gym==0.1.25

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import reasoning_gym

print("reasoning_gym", version("reasoning_gym"))

def expect(task, gold, answer, want):
    tasks = reasoning_gym.create_dataset(task, seed=1, size=1)
    score = tasks.score_answer(answer, {"question": "", "answer": gold, "metadata": {}})
    print(f"{task:16} {gold:>5} is right, {answer!r:22} gets {score:.2f}")
    assert abs(score - want) < 0.005

expect("gcd", "3", "3", 1)
expect("gcd", "3", "13", 0.5)
expect("gcd", "3", "3.0", 0.33)
expect("gcd", "3", "three", 0)
expect("gcd", "3", "1 2 3 4 5 6 7 8 9", 1 / 17)
expect("number_sequence", "3", "-3", 0.5)
expect("lcm", "2842", "12842", 0.8)
expect("lcm", "2842", "2,842", 0)
expect("count_primes", "556", "5560", 0.75)
expect("simple_equations", "13", "130", 0.67)
PYTHON

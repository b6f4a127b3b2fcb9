#!/usr/bin/env bash
# ms-swift's cosine reward rises again beyond the maximum length: twice as long is rewarded like an empty answer.
#
# Guess:   a right response gets less as it grows, from 1.0 down to 0.5 at `cosine_max_len`, and 0.5 beyond; a wrong
#          one -0.5 up to 0.0, and 0.0 beyond.
# Seen:    the cosine goes on. With a maximum of 1000 tokens, a right response of 1500 gets 0.75, one of 2000 gets 1.0;
#          a wrong one gets -0.25 and -0.5. Over several turns the tokens of all turns count together, while the default
#          of `cosine_max_len` is the maximum of one completion: two full turns get what an empty one does.
# With:    ms-swift 4.6.0 (its rewards alone)
# Matters: a right response that is too long earns by being longer still, and a wrong one loses what it gained. It shows
#          where `cosine_max_len` is set below `max_completion_length`, and with tools.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check --no-compile --no-deps --target alone ms-swift==4.6.0

venv/bin/python - <<'PYTHON'
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

print(next(Path("alone").glob("ms_swift-*.dist-info")).name)
# The file needs a name of the package for its annotations only.
sys.modules["swift.infer_engine"] = SimpleNamespace(InferRequest=dict)
CosineReward = runpy.run_path("alone/swift/rewards/orm.py")["CosineReward"]
texts = {path: Path(f"alone/swift/rlhf_trainers/{path}.py").read_text() for path in ("args_mixin", "arguments")}
for value in ("wrong: float = -0.5", "correct: float = 1.0"):
    assert f"cosine_min_len_value_{value}" in texts["args_mixin"]
for value in ("wrong: float = 0.0", "correct: float = 0.5"):
    assert f"cosine_max_len_value_{value}" in texts["args_mixin"]
assert "self.cosine_max_len = self.max_completion_length" in texts["arguments"]

defaults = SimpleNamespace(
    cosine_min_len_value_wrong=-0.5, cosine_max_len_value_wrong=0.0,
    cosine_min_len_value_correct=1.0, cosine_max_len_value_correct=0.5, cosine_max_len=1000,
)
reward = CosineReward(defaults, accuracy_orm=lambda said, right, **_: [float(a == b) for a, b in zip(said, right)])

def expect(name, tokens, right, wrong):
    found = reward(["5", "6"], ["5", "5"], response_token_ids=[tokens, tokens])
    print(f"{name:28} right {found[0]:5.2f}  wrong {found[1]:5.2f}")
    assert abs(found[0] - right) < 1e-9 and abs(found[1] - wrong) < 1e-9

expect("no token", [], 1.0, -0.5)
expect("500 tokens", [7] * 500, 0.75, -0.25)
expect("1000 tokens, the maximum", [7] * 1000, 0.5, 0.0)
expect("1500 tokens", [7] * 1500, 0.75, -0.25)
expect("2000 tokens", [7] * 2000, 1.0, -0.5)
expect("two turns of 1000 tokens", [[7] * 1000, [7] * 1000], 1.0, -0.5)
PYTHON

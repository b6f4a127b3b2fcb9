#!/usr/bin/env bash
# safetensors writes the keys of a file's metadata in another order each time: equal tensors, other bytes.
#
# Guess:   the same tensors and the same metadata give the same bytes: tensors are sorted by type and name, and a
#          Python dict has an order.
# Seen:    with eight keys, ten processes write ten different files, also with a fixed PYTHONHASHSEED. With one key
#          all are equal.
# With:    safetensors 0.8.0
# Matters: checksums of weights, caches by content and "equal inputs give equal bytes" break as soon as one notes a
#          step or a seed in the metadata. One key with a JSON text in it is stable.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6

cat >save.py <<'PYTHON'
import hashlib, json, sys
import numpy as np
from safetensors.numpy import save

metadata = json.loads(sys.argv[1])
print(hashlib.sha256(save({"weight": np.zeros(3, dtype=np.float32)}, metadata=metadata)).hexdigest()[:16])
PYTHON
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep safetensors

# $1: metadata; prints how many different files ten processes write.
files() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do PYTHONHASHSEED=0 venv/bin/python save.py "$1"; done | sort -u | wc -l
}
one=$(files '{"format": "pt"}')
many=$(files '{"format": "pt", "model": "m", "seed": "0", "step": "1", "study": "s", "rate": "0.1", "data": "d", "loss": "l"}')
echo "one key: $one file(s) out of 10 saves; eight keys: $many"
((one == 1 && many > 1))

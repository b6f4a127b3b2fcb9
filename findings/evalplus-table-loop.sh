#!/usr/bin/env bash
# EvalPlus cuts out of a program what fills its tables, and every function with a decorator.
#
# Guess:   sanitize(code, entrypoint) drops prose, tests and prints, and keeps all that the function needs: imports,
#          helpers, constants, and the loop at the top that fills a table.
# Seen:    of the top level only imports, functions, classes and single assignments (name = ...) are kept. The table
#          stays and the loop goes, so that the program gives other numbers: 0 in place of 4. A function or class with a
#          decorator (@cache, @dataclass) is gone, even the one that is asked for, and so is `LOW, HIGH = 1, 10`. Of two
#          definitions of a function the first is kept, where Python takes the last.
# With:    evalplus 0.3.1 (its sanitizer alone), tree-sitter 0.26.1
# Matters: right programs fail by their style: memoised recursion and tables that are made once are what good
#          programmers write, and its code generation keeps the sanitized program to be tested.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check tree-sitter==0.26.1 tree-sitter-python==0.25.0 tqdm==4.70.1 \
    termcolor==3.3.0
venv/bin/pip install -qq --disable-pip-version-check --no-deps evalplus==0.3.1

venv/bin/python - <<'PYTHON'
import sys
import types
from importlib.metadata import version

# The problems' data sets, which are not used here, want to be loaded from a hub.
loaders = ("get_human_eval_plus", "get_mbpp_plus", "load_solutions", "write_directory", "write_jsonl")
sys.modules["evalplus.data"] = types.ModuleType("evalplus.data")
vars(sys.modules["evalplus.data"]).update(dict.fromkeys(loaders))
from evalplus.sanitize import sanitize

print("evalplus", version("evalplus"), "tree-sitter", version("tree-sitter"))

def outcome(code):
    names = {}
    try:
        exec(code, names)
        return names["ways"](10)
    except (NameError, KeyError) as error:
        return type(error).__name__

def expect(name, code, before, after):
    found = outcome(code), outcome(sanitize(code, "ways"))
    print(f"{name:24} {found[0]} before, {found[1]} after")
    assert found == (before, after)
    assert sanitize(f"Here it is:\n```python\n{code}```\nDone.", "ways") == sanitize(code, "ways")

expect(
    "a table, filled in a loop",
    """table = [1] + [0] * 100
for coin in (1, 5, 10):
    for n in range(coin, 101):
        table[n] += table[n - coin]

def ways(n):
    return table[n]
""",
    4,
    0,
)
expect("a table, set by key", "known = {}\nknown[10] = 4\n\ndef ways(n):\n    return known.get(n, 0)\n", 4, 0)
helped = "START = 1\n\ndef more(n):\n    return n + START\n\ndef ways(n):\n    return more(n)\n"
expect("a helper and a constant", helped, 11, 11)
expect("two constants at once", "LOW, HIGH = 1, 10\n\ndef ways(n):\n    return HIGH - LOW + n\n", 19, "NameError")
cached = "from functools import cache\n\n@cache\ndef {0}(n):\n    return 1 if n < 2 else {0}(n - 1) + {0}(n - 2)\n"
expect("a cached function", cached.format("ways"), 89, "KeyError")
expect("a cached helper", cached.format("steps") + "\ndef ways(n):\n    return steps(n)\n", 89, "NameError")
expect("two definitions", "def ways(n):\n    return 1\n\ndef ways(n):\n    return 2\n", 2, 1)
PYTHON

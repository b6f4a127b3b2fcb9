#!/usr/bin/env bash
# diskcache does not find a chat again that it has answered: a key read from a file is not the equal one made in code.
#
# Guess:   equal keys are one key, as in a dict: an answer stored under the tuple (model, prompt, seed) is found again
#          with an equal tuple, however its parts were made.
# Seen:    keys are compared by their pickled bytes, and these tell whether two equal texts in a key are one object.
#          memoize() asks a second time for a chat with two turns of the user once it comes from JSON; one turn is found
#          again. Under ("qwen", "qwen", 1) stand two answers if one of the names was put together: get() gives None,
#          and list() shows both keys, which are equal. With disk=JSONDisk, all these are found.
# With:    diskcache 5.6.3
# Matters: with a random sampler the same question has two answers, and which one comes depends on where the chat is
#          from, code or a file; a resumed evaluation pays again for what it has.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check diskcache==5.6.3

venv/bin/python - <<'PYTHON'
import json

import diskcache

print("diskcache", diskcache.__version__)


def times_asked(cache, chat):
    """How often a model is asked for a chat that is written in code, and then read from JSON."""
    asked = []

    @cache.memoize()
    def answer(messages):
        asked.append(messages)
        return len(asked)

    read = json.loads(json.dumps(chat))
    assert read == chat and answer(chat) == answer(chat) and answer(read) == answer(read)
    return len(asked)


one_turn = [{"role": "user", "content": "2 + 2?"}]
two_turns = [*one_turn, {"role": "assistant", "content": "4"}, {"role": "user", "content": "3 + 3?"}]
seen = {}
for disk in (diskcache.Disk, diskcache.JSONDisk):
    cache = diskcache.Cache(disk.__name__, disk=disk)
    asked = [times_asked(cache, chat) for chat in (one_turn, two_turns)]
    cache.clear()
    key, equal = ("qwen", "qwen", 1), ("".join(["qw", "en"]), "qwen", 1)
    assert key == equal and len({key, equal}) == 1
    cache[key] = "A"
    found = cache.get(equal)
    cache[equal] = "B"
    seen[disk.__name__] = *asked, found, len(cache)
    print(f"{disk.__name__}: asked {asked} times for one and two turns, found {found}, then {list(cache)}")
assert seen == {"Disk": (1, 2, None, 2), "JSONDisk": (1, 1, "A", 1)}
one, other = diskcache.Cache("Disk")
assert one == other
PYTHON

#!/usr/bin/env bash
# Training a WordPiece tokenizer twice on the same text gives the same tokens other numbers.
#
# Guess:   training has no random step, so the same corpus and settings give the same tokenizer.json.
# Seen:    the letters that continue a word (##a, ##b, ...) are numbered in another order in every process, also with
#          one thread and a fixed PYTHONHASHSEED. BpeTrainer and WordLevelTrainer number all tokens alike each time.
# With:    tokenizers 0.23.3
# Matters: a model's embedding rows belong to the tokenizer of one run. Training it again for the same seed gives
#          other ids, so weights, caches of token ids and results that "follow from the seed" do not follow.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check tokenizers==0.23.3

cat >train.py <<'PYTHON'
import sys
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

CORPUS = ["wait let me check the answer", "maybe the answer is wrong", "quick brown foxes jump over lazy dogs"]
KINDS = {
    "wordpiece": (models.WordPiece(unk_token="?"), trainers.WordPieceTrainer),
    "bpe": (models.BPE(unk_token="?"), trainers.BpeTrainer),
    "wordlevel": (models.WordLevel(unk_token="?"), trainers.WordLevelTrainer),
}
model, trainer = KINDS[sys.argv[1]]
tokenizer = Tokenizer(model)
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.train_from_iterator(CORPUS, trainer(vocab_size=80, special_tokens=["?"], show_progress=False))
ids = tokenizer.get_vocab()
print(" ".join(sorted(ids, key=ids.get)[:40]))
PYTHON
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep tokenizers
export PYTHONHASHSEED=0 RAYON_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
for kind in wordpiece bpe wordlevel; do
    for _ in 1 2 3 4 5; do venv/bin/python train.py $kind; done | sort -u >$kind.txt
    echo "$kind: $(wc -l <$kind.txt) different vocabularies from 5 trainings"
done
echo "the first two of wordpiece:"
head -2 wordpiece.txt
(($(wc -l <wordpiece.txt) > 1 && $(wc -l <bpe.txt) == 1 && $(wc -l <wordlevel.txt) == 1))

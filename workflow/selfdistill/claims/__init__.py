"""The claims ledger: the paper's statements, tested on a study's responses."""

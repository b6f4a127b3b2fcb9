"""V: the share of accepted answers that a response shows to hold, exact in the microcosm, approximate elsewhere."""

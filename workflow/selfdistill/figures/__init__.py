"""Drawing: the look of every figure, and the pieces that several share."""

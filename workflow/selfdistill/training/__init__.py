"""Training: supervised fine-tuning, and what every trainer shares (checkpoints, step metrics)."""

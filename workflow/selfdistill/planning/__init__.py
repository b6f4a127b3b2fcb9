"""What a study will cost, what is still missing, why it is run, and which figures, tables and claims hang on it."""

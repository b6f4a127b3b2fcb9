"""What is read in a browser or printed: the ledger's page, the reading room, tables as text."""

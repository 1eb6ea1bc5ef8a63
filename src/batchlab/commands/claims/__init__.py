"""`batchlab claims`: measures published claims and judges them."""

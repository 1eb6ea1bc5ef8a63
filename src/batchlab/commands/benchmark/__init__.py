"""`batchlab benchmark`: step times by batch size and the laws fitted to them."""

"""`batchlab advise`: recommends a batch size with an interval, from short measurements and trainings."""

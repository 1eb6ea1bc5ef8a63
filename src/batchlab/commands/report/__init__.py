"""`batchlab report`: writes a study's page from what was recorded."""

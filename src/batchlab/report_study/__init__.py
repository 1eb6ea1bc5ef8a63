"""What scripts/report.py does: a study's page, from what was recorded."""

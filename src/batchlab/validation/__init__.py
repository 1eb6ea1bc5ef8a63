"""Checks of a command line and its configurations before anything runs."""

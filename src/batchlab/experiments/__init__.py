"""Experiments on published claims: arms, checks, verdicts."""

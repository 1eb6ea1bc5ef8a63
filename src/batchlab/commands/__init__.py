"""Commands: train, advise, benchmark, noise, report, claims, ui, proxy."""

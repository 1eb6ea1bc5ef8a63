"""Process facilities: signals, exit codes, locks, child processes, secrets, memory, torchrun's environment."""

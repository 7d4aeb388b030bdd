"""``python -m benchmarks``: ipcpipes against its rivals, as ratios taken in one run."""

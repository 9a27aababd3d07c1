"""The benchmark beside rivals and the version before: `python -m tools.bench_rivals`, see README.md."""

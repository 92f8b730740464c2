"""The commands of the benchmarks: run, report, compare, evaluate."""

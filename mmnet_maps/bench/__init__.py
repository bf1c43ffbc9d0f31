"""How fast the work is, beside what it replaces: benchmarks, made-up data, and the naive path."""

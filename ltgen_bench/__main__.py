"""`python -m ltgen_bench` is `ltgen-bench`."""

from ltgen_bench.cli import main

main()

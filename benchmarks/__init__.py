"""Measurements of the figures that the project promises; `python -m benchmarks` takes all of them."""

"""Runs jobs: claims one, supervises the compression process, publishes what it made."""

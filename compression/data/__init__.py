"""Datasets: read by strict rules, summarised, encoded and cut into batches."""

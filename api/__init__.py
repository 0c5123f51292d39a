"""The HTTP service: it checks, stores, answers and never computes."""

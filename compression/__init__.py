"""The compression engine: a library and a command line that know nothing of HTTP, database or queue."""

"""One file per task: what it reads, how it is encoded, what it optimises, how it is scored."""

"""Tables, repositories and the life cycle of a job."""

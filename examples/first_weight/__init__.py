"""One heavy task, which a worker runs."""

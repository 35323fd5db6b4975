"""Worker processes for the queue lane: a supervisor, and the children that run the queued calls."""

from weighbridge.worker.supervisor import available_cpus, supervise

__all__ = ["available_cpus", "supervise"]

"""Load: the samplers behind its readings, each on a thread of its own, and the guard of the event loop."""

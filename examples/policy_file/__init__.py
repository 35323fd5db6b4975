"""A policy of one's own, and how to swap it."""

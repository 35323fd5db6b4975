"""The two lanes: each takes calls that were accepted, and neither knows the other."""

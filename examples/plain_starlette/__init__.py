"""Starlette without FastAPI: the facade is made in the endpoint."""

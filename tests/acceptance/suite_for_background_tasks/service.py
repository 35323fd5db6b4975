"""How this suite's services are made. A service with a dispatcher is made by another module of this name."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI


def new_app(**options: Any) -> FastAPI:
    return FastAPI(**options)

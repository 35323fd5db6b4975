"""Migrates a source as its owner would: ``BackgroundTasks`` comes from another module, and nothing else changes."""

from __future__ import annotations

import ast

NAME = "BackgroundTasks"
STOCK_MODULES = frozenset({"fastapi", "fastapi.background", "starlette.background"})


def with_import_changed(source: str, *, to: str = "weighbridge") -> str:
    """The source with each import of the stock class replaced by ``from {to} import BackgroundTasks``.

    A source that does not import it comes back as it is.
    """
    lines = source.splitlines(keepends=True)
    found = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        and node.module in STOCK_MODULES
        and any(alias.name == NAME for alias in node.names)
    ]
    for node in sorted(found, key=lambda node: node.lineno, reverse=True):
        if any(alias.name == NAME and alias.asname for alias in node.names):
            raise ValueError(f"line {node.lineno} imports {NAME} under another name, which is not provided for")
        assert node.end_lineno is not None  # ast.parse always fills it in
        indent = " " * node.col_offset
        changed = [f"{indent}from {to} import {NAME}\n"]
        others = [alias for alias in node.names if alias.name != NAME]
        if others:
            changed.insert(0, indent + ast.unparse(ast.ImportFrom(node.module, others, node.level)) + "\n")
        lines[node.lineno - 1 : node.end_lineno] = changed
    return "".join(lines)

from typing import Any


def page(report: dict[str, Any]) -> str:
    return "<!doctype html>"

"""
Just enough of a compose file: its services and their images, read from the usual indented form.
"""

from __future__ import annotations

import re

_TOP = re.compile(r"^(\w[\w-]*)\s*:")
_SERVICE = re.compile(r"^(\s+)([\w.-]+)\s*:\s*$")
_IMAGE = re.compile(r"^\s+image\s*:\s*[\"']?([^\"'\s#]+)")


def services_of(compose: str) -> list[tuple[str, str]]:
    """
    Return (service, image) pairs in file order; the image is empty where a service builds its own.
    """
    found: list[tuple[str, str]] = []
    inside, depth = False, ""
    for line in compose.splitlines():
        if top := _TOP.match(line):
            inside, depth = top[1] == "services", ""
        elif not inside:
            continue
        elif (service := _SERVICE.match(line)) and depth in ("", service[1]):
            depth = service[1]
            found.append((service[2], ""))
        elif (image := _IMAGE.match(line)) and found:
            found[-1] = (found[-1][0], image[1])
    return found

"""kopf without the client libraries that it would load along.

kopf imports `kubernetes` if that is installed, to recognise its objects when a handler passes one: 300 modules
and 25 MB for something that never happens here.  While kopf is imported they look as if they were not
installed (None in `sys.modules` makes an import fail); afterwards whoever needs one can import it.
"""

import sys

_CLIENTS = ("kubernetes", "kubernetes_asyncio", "pykube")

_hidden = [name for name in _CLIENTS if name not in sys.modules]
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type]
try:
    import kopf
finally:
    for _name in _hidden:
        del sys.modules[_name]

__all__ = ["kopf"]

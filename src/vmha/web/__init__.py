"""The dashboard: the cluster in a browser, by what ``status``, ``vm why``, ``plan --if`` and ``events`` read.

One reading of the cluster for all browsers (``feed``), by watches; pages are made here, as text (``html``, ``parts``,
``pages``), read without JavaScript, and kept up to date by server-sent events that carry the parts which changed
(``stream``). Nothing is fetched from anywhere else. ``app`` puts it together; ``serve`` listens. Starlette and uvicorn,
the extra ``web``, are imported in this package alone.
"""

"""Composition root: it builds a gateway's parts from the settings, each from those before. ``app.py`` runs them.

A few live objects are here as well, as they rebuild parts: :class:`~gateway.assembly.routing.Routing`,
:class:`~gateway.assembly.upstreams.Upstreams`, and the background tasks that follow keys, clock and schema.
"""

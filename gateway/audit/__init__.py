"""Audit of a deployment from outside: attacks that need no inside knowledge, replayed, and a report of what holds.

``check`` says what a check is, ``asking`` sends its requests within a budget, ``checks`` is the list of all, the other
modules hold them by subject, ``running`` runs them and ``report`` writes what they found.
"""

"""Distributed tracing: the trace context that requests carry (``context``), and spans for a collector (``spans``).

Law: OpenTelemetry is imported by ``spans`` alone, and only where an endpoint is set.
"""

"""Audit trail: records of sign-ins, refusals and changes, for ``gateway_audit`` and standard output."""

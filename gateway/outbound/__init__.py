"""Outbound room: the HTTP client for servers of others, the addresses that it may connect to, and what it fetches."""

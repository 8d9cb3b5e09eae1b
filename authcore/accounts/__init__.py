"""Accounts: sign-in, sessions, invitations and administration."""

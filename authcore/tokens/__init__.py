"""Tokens: their claims, how they are issued and verified, and the signed identity."""

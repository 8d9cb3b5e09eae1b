"""Authentication: from a credential to a principal, by the verdict cache, API keys and foreign issuers."""

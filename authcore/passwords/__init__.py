"""Passwords: the hasher, the thread pool of bcrypt, and hashes read from the database."""

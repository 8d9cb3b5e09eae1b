"""Database layer: ``protocol`` declares the operations that the domain uses, ``postgres`` implements them.

Law: asyncpg is imported in this package only.
"""

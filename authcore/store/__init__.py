"""The domain's view of its database: ``protocol`` says what is asked, ``postgres`` answers.

Law: asyncpg is imported in this package only.
"""

"""Single sign-on: it signs users of identity providers in to ordinary sessions, by linking rules.

From the request to the session: ``service`` begins and ends a sign-in; ``states`` binds it to one browser;
``configured`` and ``registry`` have the provider of a row; ``providers`` know each kind, over ``discovery``,
``exchange`` and ``id_tokens``; ``linking`` decides which account it is, and ``account_finder`` applies that;
``departures`` end it.
"""

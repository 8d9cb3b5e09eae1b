"""What the gateway does at the moment: its recent past in numbers (``recent``), and a page of them (``page``).

Law: nothing here costs a request anything: what is counted anyway is noted every few seconds, and subtracted.
"""

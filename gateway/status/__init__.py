"""Status report: the gateway's recent past in numbers (``recent``), and an HTML page of them (``page``).

Law: nothing here costs a request anything: the metrics' counts are noted every few seconds, and subtracted.
"""

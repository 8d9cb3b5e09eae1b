"""Settings -> the parts of a gateway, each from those before it. Here nothing runs; ``app.py`` starts and stops."""

"""Connection checks: what the settings name is connected to once, to find out whether serving would work."""

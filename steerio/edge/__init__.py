"""All I/O: codecs, endpoints, journal, keys.  Nothing here decides anything."""

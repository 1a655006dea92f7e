"""The examples against their baselines, and on many simulated workers: two tables, from recordings.

``joined`` finds the examples, ``one`` runs one of them in a process of its own, ``policy_lines``
counts, ``tables`` prints, ``command`` does it all.
"""

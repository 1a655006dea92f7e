"""Identifiers, tasks, results, events and messages: frozen values, no behaviour."""

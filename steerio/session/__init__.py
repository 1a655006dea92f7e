"""The session library: submitting tasks, handles, task types, stored values, pools and moves."""

"""What users touch: task types, sessions, campaigns, agents, boards."""

"""The campaign framework: campaigns, the triggers of their agents, boards."""

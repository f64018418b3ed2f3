"""Against the truth: the quality report, looking objects up, recovering known ones."""

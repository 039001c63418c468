"""Playbooks and standbys: what they see, and what they do."""

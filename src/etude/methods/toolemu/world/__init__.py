"""A small scripted world for six toolkits, with harm decided by rules. It executes nothing."""

"""Ours and the peer on the same work in one process run; ratios, because absolute times do not travel."""

"""Weakly-supervised breast-ultrasound diagnosis: the domain library. Research software, not a medical device."""

__version__ = "0.1.0"

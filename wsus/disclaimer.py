"""The one sentence that stands wherever a reader sees results."""

DISCLAIMER = "Research software, not a medical device."

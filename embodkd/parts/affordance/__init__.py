"""A hand that moves like a person's and keeps off what it should not touch (AffordDex, arXiv 2508.08896)."""

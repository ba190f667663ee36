"""Networks changed: variants, projectors, other last layers."""

"""What self-distillation does without chance: kernel ridge in rounds, the best share of two answers."""

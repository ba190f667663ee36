"""Players and what holds them in balance: imitators, turns, loss ratios."""

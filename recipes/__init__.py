"""How the starter space was made: every step runnable again (`python -m recipes.<step>`)."""

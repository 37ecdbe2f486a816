"""How sure an answer is: the model, its fit, and how it is judged."""

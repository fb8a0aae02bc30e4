"""How good a model is: ranks and recalls."""

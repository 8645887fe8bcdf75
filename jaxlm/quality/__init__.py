"""Floor 5: how good and how diverse a model's text is, by the way it is drawn."""

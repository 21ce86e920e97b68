"""World models: encoders, predictors, training and analysis."""

"""Network modules: encoders, predictors, frozen backbones and readout heads."""

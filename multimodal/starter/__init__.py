"""The embedded space: weights, configuration and model card, loaded by `multimodal.load_space()`."""

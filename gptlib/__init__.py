"""GPT-2, built step by step: tokenizers, datasets, attention, the model, training and generation."""

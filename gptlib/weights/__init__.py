"""The official GPT-2 weights in our own model, from both sources, and our models for the rest of the world.

`load_model` takes any model by the name that a person gives it. Importing this loads neither TensorFlow nor Hugging
Face's libraries; they are imported where they are needed.
"""

from gptlib.weights.huggingface import load_hf_gpt2
from gptlib.weights.loading import load_model
from gptlib.weights.openai import download_and_load_gpt2, load_openai_gpt2, load_weights_into_gpt

__all__ = ["download_and_load_gpt2", "load_hf_gpt2", "load_model", "load_openai_gpt2", "load_weights_into_gpt"]

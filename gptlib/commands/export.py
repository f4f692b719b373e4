"""Turn a model into a folder that Hugging Face's transformers loads, with its tokenizer and the draft of a model card.

CHECKPOINT is a file, a folder, a name in model_weights/, or an official size as 124M.
"""

from gptlib.weights.export import export_to_huggingface

USAGE = "gptlib export CHECKPOINT DIR"


def add_arguments(parser) -> None:
    parser.add_argument("checkpoint", type=str, help="a checkpoint file, a name in model_weights/, 124M …")
    parser.add_argument("dir", type=str, help="the folder to make; an earlier export there is replaced")


def run(options, parser) -> int:
    folder = export_to_huggingface(options.checkpoint, options.dir)
    print(f"Wrote {folder}: transformers loads it with AutoModelForCausalLM.from_pretrained({str(folder)!r}).")
    print(f"{folder / 'README.md'} is a draft: say there what the model is for, and under which licence.")
    return 0

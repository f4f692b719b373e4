"""The exercises, a file a chapter, as `gptlib.exercises.declaring` has them declared."""

from gptlib.exercises.declaring import Chapter

CHAPTERS = (
    Chapter(0, "Welcome", "welcome"),
    Chapter(1, "Tokenizers", "tokenizers"),
    Chapter(2, "Datasets", "datasets"),
    Chapter(3, "Attention", "attention"),
    Chapter(4, "The GPT model", "gpt_model"),
    Chapter(5, "Training", "training"),
    Chapter(6, "Generation", "generation"),
    Chapter(7, "Pretrained weights", "pretrained_weights"),
    Chapter(8, "Fine-tuning", "finetuning"),
    Chapter(9, "Evaluation", "evaluation"),
    Chapter(10, "Speed", "speed"),
)

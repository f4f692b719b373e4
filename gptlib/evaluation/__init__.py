"""How good a model is: its loss on texts, its choices among endings, and what it writes. Start at whole_text.py."""

from gptlib.evaluation.choices import ChoiceScores, Question, read_questions, score_choices, standard_error
from gptlib.evaluation.continuations import (
    cut_prompts,
    evaluate_continuations,
    judge_continuations,
    write_continuations,
)
from gptlib.evaluation.memorisation import longest_overlap, share_found
from gptlib.evaluation.texts import bleu, distinct, repetition
from gptlib.evaluation.whole_text import TextLoss, lost_bytes, sliding_nll, text_loss
from gptlib.loss import evaluate_loss, next_token_loss, perplexity, text_token_losses, token_losses

__all__ = [
    "ChoiceScores",
    "Question",
    "TextLoss",
    "bleu",
    "cut_prompts",
    "distinct",
    "evaluate_continuations",
    "evaluate_loss",
    "judge_continuations",
    "longest_overlap",
    "lost_bytes",
    "next_token_loss",
    "perplexity",
    "read_questions",
    "repetition",
    "score_choices",
    "share_found",
    "sliding_nll",
    "standard_error",
    "text_loss",
    "text_token_losses",
    "token_losses",
    "write_continuations",
]

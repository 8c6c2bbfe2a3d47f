"""Training: recipes, the training loop, and the folders of runs."""

from tinygrad_lab.train.callbacks import Callback, EarlyStopping, GradientNorms, TensorBoard
from tinygrad_lab.train.evaluation import Evaluation, best_epoch, evaluate, headline_accuracies
from tinygrad_lab.train.progress import LineReporter, LiveReporter
from tinygrad_lab.train.recipe import Recipe, find_recipe, recipe_names
from tinygrad_lab.train.run import run_recipe
from tinygrad_lab.train.statistics import Verdict, verdict
from tinygrad_lab.train.trainer import Trainer

__all__ = [
    "Callback",
    "EarlyStopping",
    "Evaluation",
    "GradientNorms",
    "LineReporter",
    "LiveReporter",
    "Recipe",
    "TensorBoard",
    "Trainer",
    "Verdict",
    "best_epoch",
    "evaluate",
    "find_recipe",
    "headline_accuracies",
    "recipe_names",
    "run_recipe",
    "verdict",
]

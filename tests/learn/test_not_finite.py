"""An answer whose numbers are NaN or infinite passes no exercise."""

from __future__ import annotations

import pytest

from tinygrad_lab.learn.catalog import exercises, find_exercise
from tinygrad_lab.learn.grading import grade

SPOILING = """

def spoiled(function):
    def call(*arguments, **options):
        result = function(*arguments, **options)
        if isinstance(result, (tuple, list)):
            return tuple(part * float("{number}") for part in result)
        return result * float("{number}")
    return call

"""
SPOILED = {  # for each exercise, a line that makes results of the solution NaN or infinite
    "scalar_tape": "Value.__mul__ = spoiled(Value.__mul__)",
    "broadcasting": "multiply_backward = spoiled(multiply_backward)",
    "matmul": "dense_backward = spoiled(dense_backward)",
    "log_sum_exp": "log_sum_exp_backward = spoiled(log_sum_exp_backward)",
    "cross_entropy": "cross_entropy_backward = spoiled(cross_entropy_backward)",
    "im2col": "im2col = spoiled(im2col)",
    "col2im": "col2im = spoiled(col2im)",
    "conv2d": "conv2d_backward = spoiled(conv2d_backward)",
    "max_pool": "max_pool_backward = spoiled(max_pool_backward)",
    "dropout": "Dropout.forward = spoiled(Dropout.forward)",
    "batch_norm": "batch_norm_backward = spoiled(batch_norm_backward)",
    "layer_norm": "LayerNorm.forward = spoiled(LayerNorm.forward)",
    "response_norm": "response_norm_backward = spoiled(response_norm_backward)",
    "residual": "ResidualBlock.forward = spoiled(ResidualBlock.forward)",
    "robust_loss": "robust_loss = spoiled(robust_loss)",
    "momentum": "SGD.step = lambda self: [p.assign(p.numpy() * {number}) for p in self.parameters.values()]",
    "step_decay": "step_decay = spoiled(step_decay)",
    "complex_step": "slope = spoiled(slope)",
    "two_vjps": "jvp = spoiled(jvp)",
    "operation": "log_add_exp.defvjp(x=lambda g, x, y: {number} * by_x(g, x, y))",
    "plugin": "snake.defvjp(beta=lambda g, x, beta: {number} * by_beta(g, x, beta))",
    "array_tape": "tanh = spoiled(tanh)",
    "training_loop": "train = spoiled(train)",
    "adam": "Adam.step = lambda self: [p.assign(p.numpy() * {number}) for p in self.parameters.values()]",
    "initial_values": "he_normal = spoiled(he_normal)",
    "class_map": "class_map = spoiled(class_map)",
    "two_steps": "central = spoiled(central)",
    "checkpointing": "gradient = spoiled(gradient)",
    "attention": "attention_backward = spoiled(attention_backward)",
    "augmentation": "shift = spoiled(shift)",
    "kernel": "relu_pool = spoiled(relu_pool)",
}


def test_every_exercise_has_an_entry() -> None:
    assert list(SPOILED) == [exercise.name for exercise in exercises()]


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize("name", SPOILED)
def test_an_answer_that_is_not_finite_does_not_pass(name: str, number: str) -> None:
    exercise = find_exercise(name)
    files = dict(exercise.solution)
    file = "layer.py" if name == "plugin" else f"{name}.py"
    line = SPOILED[name].replace("{number}", f'float("{number}")')
    files[file] += SPOILING.replace("{number}", number) + line + "\n"
    verdict = grade(exercise, files)
    assert not verdict.passed
    assert "could not be run" not in verdict.what

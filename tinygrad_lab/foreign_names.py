"""Names from other frameworks, each with what to use here instead, which the errors about unknown names suggest."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

IMMUTABLE = "tensors are immutable; compute a new one"
NEW_VALUE = "an operation that returns a new tensor: tensors are immutable"
DEVICE = "x.to(device) for a tensor, model.to(device) for a model"
WIDTH = "x.astype('float32') for a tensor or a model"

LINALG = ("inv", "solve", "det", "slogdet", "cholesky", "eigh", "svd", "qr")

TENSOR = {
    **{name: f"numpy.linalg.{name}(x)" for name in LINALG},
    "inverse": "numpy.linalg.inv(x)",
    "view": "reshape(shape)",
    "permute": "transpose(axes)",
    "t": "T",
    "mm": "x @ y",
    "round": "tinygrad_lab.rint(x)",
    "grad_fn": "repr(x), which names the operation that made x",
    "is_leaf": "repr(x), which names the operation that made x if x is not a leaf",
    "dim": "ndim",
    "numel": "size",
    "get_shape": "shape",
    "unsqueeze": "tinygrad_lab.expand_dims(x, axis)",
    "detach": "tinygrad_lab.stop_gradient(x)",
    "data": "numpy()",
    "clone": "nothing: " + IMMUTABLE,
    "copy": "nothing: " + IMMUTABLE,
    "add_": NEW_VALUE,
    "mul_": NEW_VALUE,
    "zero_": NEW_VALUE,
    "fill_": NEW_VALUE,
    "requires_grad_": "tinygrad_lab.tensor(array, requires_grad=True)",
    "zero_grad": "nothing: an update gives parameters new values without gradients",
    "clamp": "clip(low, high)",
    "cpu": DEVICE,
    "cuda": DEVICE,
    "float": WIDTH,
    "double": WIDTH,
    "half": WIDTH,
    "long": "x.astype('int64') for a tensor",
}
LAYER = {
    "state_dict": "state(); tinygrad_lab.weights.save_weights writes a file",
    "load_state_dict": "load_state(state); tinygrad_lab.weights.load_weights reads a file",
    "get_weights": "state()",
    "set_weights": "load_state(state)",
    "named_parameters": "parameters(), a dict by path",
    "trainable_variables": "parameters(), a dict by path",
    "modules": "layers(), a dict by path",
    "named_modules": "layers(), a dict by path",
    "zero_grad": "nothing: an update gives parameters new values without gradients",
    "fit": "tinygrad_lab.train.Trainer(model, loss, optimizer, batches).train(epochs)",
    "compile": "tinygrad_lab.train.Trainer, which takes loss and optimizer",
    "evaluate": "tinygrad_lab.train.evaluate(model, loss, batches)",
    "predict": "tinygrad_lab.load_run(folder).predict(images), or model.eval(), then model(tensor(images))",
    "summary": "tinygrad_lab.inspect.summarize(model, shape)",
    "save": "tinygrad_lab.weights.save_weights(model, path)",
    "load": "tinygrad_lab.weights.load_weights(model, path)",
    "requires_grad_": "freeze() and unfreeze()",
    "trainable": "freeze() and unfreeze()",
    "add": "Sequential(layer, layer, ...), which takes all layers at once",
    "append": "Sequential(*model, layer)",
    "cpu": DEVICE,
    "cuda": DEVICE,
    "float": WIDTH,
    "half": WIDTH,
}
OPTIMIZER = {
    "zero_grad": "nothing: step() gives parameters new values without gradients",
    "state_dict": "state()",
    "load_state_dict": "load_state(state)",
    "param_groups": "options, a dict by path",
    "minimize": "loss.backward(), then step()",
    "apply_gradients": "loss.backward(), then step()",
}
PACKAGE = {
    **{name: f"linalg.{name}(x)" for name in LINALG},
    "cat": "concatenate(arrays, axis=0)",
    "mm": "matmul(x, y)",
    "mul": "multiply(x, y)",
    "div": "divide(x, y)",
    "sub": "subtract(x, y)",
    "neg": "negative(x)",
    "pow": "power(x, y)",
    "round": "rint(x)",
    "flatten": "x.flatten(), or x.flatten(1) to keep the axis of the batch",
    "unsqueeze": "expand_dims(x, axis)",
    "permute": "transpose(x, axes)",
    "gather": "take_along_axis(x, positions, axis)",
    "from_numpy": "tensor(array)",
    "as_tensor": "tensor(array)",
    "array": "tensor(array)",
    "Variable": "tensor(array, requires_grad=True)",
    "randn": "tensor(rng.standard_normal(shape))",
    "rand": "tensor(rng.random(shape))",
    "manual_seed": "seed(number)",
    "save": "tinygrad_lab.weights.save_weights(model, path)",
    "load": "tinygrad_lab.weights.load_weights(model, path)",
    "load_model": "load_run(folder)",
    "clamp": "clip(x, low, high)",
    "randint": "tensor(rng.integers(low, high, shape))",
    "float32": "dtype='float32'",
    "float64": "dtype='float64'",
    "functional": "the functions of the package itself, such as relu(x)",
    "Module": "Layer",
    "Linear": "tinygrad_lab_layers.dense.Dense",
    "Conv2D": "tinygrad_lab_layers.conv2d.Conv2d",
    "BatchNorm2d": "tinygrad_lab_layers.batch_norm.BatchNorm",
    **{name: f"tinygrad_lab_layers.{name}" for name in ("BatchNorm", "Conv2d", "Dense", "Dropout", "ReLU", "Softmax")},
    **dict.fromkeys(("CrossEntropyLoss", "cross_entropy"), "tinygrad_lab.losses.softmax_cross_entropy"),
    **dict.fromkeys(("MSELoss", "mse_loss"), "tinygrad_lab.losses.mse"),
    **{name: f"tinygrad_lab.optim.{name}" for name in ("SGD", "Adam", "AdamW", "RMSprop")},
}
OPTIONS = {
    "dim": "axis",
    "dims": "axes",
    "keepdim": "keepdims",
    "retain_graph": "keep_graph",
    "start_dim": "start",
    "correction": "ddof",
}


def missing(owner: str, name: str, table: Mapping[str, str], functions: Container[str] = ()) -> AttributeError:
    """Return the error for a missing attribute; for a name of another framework it suggests what to use here.

    Parameters
    ----------
    owner : str
        Description of the object or module that lacks the attribute.
    name : str
        The attribute.
    table : mapping
        Foreign names and what to use instead.
    functions : container of str
        Names that are functions here and methods in other frameworks.

    Examples
    --------
    >>> missing("'Dense' object", "named_parameters", LAYER)
    AttributeError("'Dense' object has no attribute 'named_parameters'; use parameters(), a dict by path")
    >>> missing("'Tensor' object", "exp", TENSOR, {"exp"})
    AttributeError("'Tensor' object has no attribute 'exp'; use tinygrad_lab.exp(x)")
    """
    use = table.get(name) or (f"tinygrad_lab.{name}(x)" if name in functions else "")
    return AttributeError(f"{owner} has no attribute {name!r}" + (f"; use {use}" if use else ""))


def own_options(names: Iterable[str]) -> str:
    """Return the end of a message about unknown options: the names here for options of other frameworks.

    Examples
    --------
    >>> own_options(["dim", "keepdim"]), own_options(["axis"])
    ('; use axis for dim, keepdims for keepdim', '')
    """
    found = ", ".join(f"{OPTIONS[name]} for {name}" for name in names if name in OPTIONS)
    return f"; use {found}" if found else ""


def names_options(function: Function) -> Function:
    """Let the error about an option of another framework, such as ``dim=0``, suggest the option here."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except TypeError as error:
            foreign = own_options(name for name in options if f"{name!r}" in str(error))
            if foreign and type(error) is TypeError:
                raise TypeError(f"{error}{foreign}") from None
            raise

    return call  # type: ignore[return-value]  # of the same signature

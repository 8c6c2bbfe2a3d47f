"""Names of other frameworks, with the word used here; in the root, because tensors, layers and optimizers use it."""

from __future__ import annotations

from collections.abc import Container, Mapping

IMMUTABLE = "tensors are immutable; compute a new one"
DEVICE = "x.to(device) moves a tensor, model.to(device) a model"
WIDTH = "x.astype('float32') converts a tensor or a model"

TENSOR = {
    "view": "reshape(shape)",
    "flatten": "reshape(-1)",
    "ravel": "reshape(-1)",
    "permute": "transpose(axes)",
    "t": "T",
    "mT": "tinygrad_lab.swapaxes(x, -1, -2)",
    "dim": "ndim",
    "numel": "size",
    "unsqueeze": "tinygrad_lab.expand_dims(x, axis)",
    "detach": "tinygrad_lab.stop_gradient(x)",
    "data": "numpy()",
    "clone": "nothing: " + IMMUTABLE,
    "copy": "nothing: " + IMMUTABLE,
    "add_": IMMUTABLE,
    "mul_": IMMUTABLE,
    "zero_": IMMUTABLE,
    "fill_": IMMUTABLE,
    "requires_grad_": "tinygrad_lab.tensor(array, requires_grad=True)",
    "zero_grad": "nothing: an update gives parameters new values without gradients",
    "tolist": "numpy().tolist()",
    "clamp": "clip(low, high)",
    "cpu": DEVICE,
    "cuda": DEVICE,
    "float": WIDTH,
    "double": WIDTH,
    "half": WIDTH,
    "long": "x.astype('int64') converts a tensor",
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
    "zero_grad": "nothing: an update gives parameters fresh values without gradients",
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
    "zero_grad": "nothing: step() gives parameters fresh values without gradients",
    "state_dict": "state()",
    "load_state_dict": "load_state(state)",
    "param_groups": "options, a dict by path",
    "minimize": "loss.backward(), then step()",
    "apply_gradients": "loss.backward(), then step()",
}
PACKAGE = {
    "cat": "concatenate(arrays, axis=0)",
    "zeros": "tensor(np.zeros(shape))",
    "ones": "tensor(np.ones(shape))",
    "arange": "tensor(np.arange(...))",
    "linspace": "tensor(np.linspace(...))",
    "randn": "tensor(rng.standard_normal(shape))",
    "rand": "tensor(rng.random(shape))",
    "manual_seed": "seed(number)",
    "save": "tinygrad_lab.weights.save_weights(model, path)",
    "load": "tinygrad_lab.weights.load_weights(model, path)",
    "load_model": "load_run(folder)",
    "clamp": "clip(x, low, high)",
    "Linear": "tinygrad_lab_layers.dense.Dense",
    "Conv2D": "tinygrad_lab_layers.conv2d.Conv2d",
    "BatchNorm2d": "tinygrad_lab_layers.batch_norm.BatchNorm",
    "CrossEntropyLoss": "tinygrad_lab.losses.softmax_cross_entropy",
}


def missing(owner: str, name: str, table: Mapping[str, str], functions: Container[str] = ()) -> AttributeError:
    """Return the error for a missing attribute; for a name of another framework it suggests our word.

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

"""Weights of other frameworks are renamed and reordered, and all of them are loaded or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import tinygrad_lab as tgl
from tinygrad_lab.errors import OptionError, StateError
from tinygrad_lab.weights import import_weights, read_arrays, renamed, save_weights
from tinygrad_lab_layers import BatchNorm, Conv2d, Dense, Flatten, MaxPool2d, PReLU, ReLU

RULES = {"features.0.*": "conv.*", "features.1.*": "norm.*", "classifier.*": "output.*"}
FLATTENED = {"output": (4, 3, 2)}


def network() -> tgl.Sequential:
    """Return a convolution, normalization, and a dense layer after flatten of a 3x2 map of 4 channels."""
    return tgl.Sequential(
        {
            "conv": Conv2d(3, 4, kernel_size=(3, 2), padding="valid", rng=0),
            "norm": BatchNorm(4),
            "relu": ReLU(),
            "pool": MaxPool2d(kernel_size=1),
            "flatten": Flatten(),
            "output": Dense(24, 5, rng=0),
        }
    )


def theirs(seed: int = 1) -> dict[str, Any]:
    """Return the arrays of such a network with PyTorch's names and order of axes."""
    rng = np.random.default_rng(seed)
    shapes = {
        "features.0.weight": (4, 3, 3, 2),
        "features.0.bias": (4,),
        "features.1.weight": (4,),
        "features.1.bias": (4,),
        "features.1.running_mean": (4,),
        "features.1.running_var": (4,),
        "classifier.weight": (5, 24),
        "classifier.bias": (5,),
    }
    arrays: dict[str, Any] = {name: rng.uniform(0.5, 1.5, shape).astype("float32") for name, shape in shapes.items()}
    return arrays | {"features.1.num_batches_tracked": np.array(7)}


def as_npz(folder: Path, arrays: dict[str, Any]) -> Path:
    np.savez(folder / "theirs.npz", **arrays)
    return folder / "theirs.npz"


def as_safetensors(folder: Path, arrays: dict[str, Any]) -> Path:
    save_file(arrays, folder / "theirs.safetensors")
    return folder / "theirs.safetensors"


def by_hand(arrays: dict[str, Any], x: Any) -> Any:
    """Compute PyTorch's network by loops on images (N, C, H, W)."""
    w, maps = arrays["features.0.weight"], np.zeros((len(x), 4, 3, 2))
    for n, o, i, j in np.ndindex(*maps.shape):
        maps[n, o, i, j] = (x[n, :, i : i + 3, j : j + 2] * w[o]).sum() + arrays["features.0.bias"][o]
    scale, shift, mean, var = (arrays[f"features.1.{k}"] for k in ("weight", "bias", "running_mean", "running_var"))
    maps = (maps - mean[:, None, None]) / np.sqrt(var + 1e-5)[:, None, None] * scale[:, None, None]
    maps = np.maximum(maps + shift[:, None, None], 0)
    return maps.reshape(len(x), -1) @ arrays["classifier.weight"].T + arrays["classifier.bias"]


@pytest.mark.parametrize("write", [as_npz, as_safetensors])
def test_names_axes_and_flattened_maps_are_converted(write: Callable[..., Path], tmp_path: Path) -> None:
    model, arrays = network(), theirs()
    path = write(tmp_path, arrays)
    taken = import_weights(model, path, rules=RULES, convention="torch", flattened=FLATTENED)
    assert taken["norm.running_var"] == "features.1.running_var"
    assert set(taken) == set(model.state())
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 3)).astype("float32")
    y = model.eval()(x.transpose(0, 2, 3, 1)).numpy()
    np.testing.assert_allclose(y, by_hand(arrays, x), rtol=1e-4, atol=1e-4)


@pytest.mark.peers
def test_weights_of_a_pytorch_network_are_imported(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    theirs_ = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, groups=2),
        nn.BatchNorm2d(6),
        nn.PReLU(6),
        nn.ConvTranspose2d(6, 4, 2, stride=2),
        nn.Flatten(),
        nn.Linear(4 * 10 * 8, 3),
    )
    ours = tgl.Sequential(
        Conv2d(4, 6, kernel_size=3, padding=1, groups=2, rng=0),
        BatchNorm(6),
        PReLU(6),
        tgl.layers["conv2d_transpose"](6, 4, kernel_size=2, stride=2, rng=0),
        Flatten(),
        Dense(4 * 10 * 8, 3, rng=0),
    )
    x = torch.randn(2, 4, 5, 4, generator=torch.Generator().manual_seed(0))
    theirs_(x)  # so that the statistics differ from the initial ones
    path = as_npz(tmp_path, {name: value.numpy() for name, value in theirs_.state_dict().items()})
    import_weights(ours, path, convention="torch", flattened={"5": (4, 10, 8)})
    with torch.no_grad():
        expected = theirs_.eval()(x).numpy()
    np.testing.assert_allclose(ours.eval()(x.permute(0, 2, 3, 1).numpy()).numpy(), expected, rtol=1e-4, atol=1e-5)


def spoilt(**changes: Any) -> dict[str, Any]:
    arrays = theirs() | changes
    return {name: array for name, array in arrays.items() if array is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classifier.bias": None}, r"no array for the variable output.bias \(5,\)"),
        ({"extra.weight": np.ones(2)}, "no variable for the array extra.weight"),
        (
            {"classifier.weight": np.ones((5, 23), "float32")},
            r"output.weight: expected shape \(24, 5\), got classifier",
        ),
        ({"features.0.weight": np.ones((4, 3, 2, 3), "float32")}, r"of \(4, 3, 2, 3\), which is \(2, 3, 3, 4\) in our"),
        ({"features.1.bias": np.ones(4, "int32")}, "norm.shift: expected float32, got features.1.bias of int32"),
        (
            {"output.bias": np.ones(5, "float32")},
            "output.bias: expected one array, got classifier.bias and output.bias",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_named_and_nothing_is_loaded(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = network()
    before = model.state()
    with pytest.raises(StateError, match=message) as caught:
        import_weights(model, as_npz(tmp_path, spoilt(**changes)), rules=RULES, convention="torch", flattened=FLATTENED)
    assert "nothing was loaded" in str(caught.value)
    assert all(before[name] is array for name, array in model.state().items())


def test_all_arrays_that_do_not_fit_and_all_unused_rules_are_listed(tmp_path: Path) -> None:
    rules = {"feature.0.*": "conv.*", **RULES}
    arrays = spoilt(**{"classifier.weight": None, "head.weight": np.ones((5, 24), "float32")})
    with pytest.raises(StateError) as caught:
        import_weights(network(), as_npz(tmp_path, arrays), rules=rules, convention="torch", flattened=FLATTENED)
    lines = str(caught.value).splitlines()[1:]
    assert [line.strip() for line in lines] == [
        "no array for the variable output.weight (24, 5) (the nearest array left over: head.weight)",
        "no variable for the array head.weight",
        "a rule that matches nothing: feature.0.*",
    ]


def test_long_lists_of_errors_are_shortened(tmp_path: Path) -> None:
    path = as_npz(tmp_path, {f"strange{i}": np.ones(1) for i in range(30)})
    with pytest.raises(StateError, match="22 more of these"):
        import_weights(network(), path, convention="own")


def test_fresh_variables_keep_their_values(tmp_path: Path) -> None:
    model = network()
    before = model.state()
    arrays = spoilt(**{"classifier.weight": np.ones((7, 24), "float32"), "classifier.bias": None})
    taken = import_weights(model, as_npz(tmp_path, arrays), rules=RULES, convention="torch", fresh="output.*")
    assert not any(name.startswith("output") for name in taken)
    assert np.array_equal(model.state()["output.weight"], before["output.weight"])
    assert np.array_equal(model.state()["norm.scale"], arrays["features.1.weight"])


def test_arrays_can_be_left_out(tmp_path: Path) -> None:
    path = as_npz(tmp_path, spoilt(**{"optimizer.step": np.array(3)}))
    taken = import_weights(
        network(), path, rules={**RULES, "optimizer.*": None}, convention="torch", flattened=FLATTENED
    )
    assert "optimizer.step" not in taken.values()


def test_the_shape_of_a_flattened_map_must_be_given(tmp_path: Path) -> None:
    path = as_npz(tmp_path, theirs())
    with pytest.raises(OptionError, match=r"expected flattened=.'output': .channels, height, width"):
        import_weights(network(), path, rules=RULES, convention="torch")
    with pytest.raises(OptionError, match=r"flattened\['output'\].*24 elements"):
        import_weights(network(), path, rules=RULES, convention="torch", flattened={"output": (4, 2, 2)})
    with pytest.raises(OptionError, match="expected the path of a layer in the model, got 'outptu'"):
        import_weights(network(), path, rules=RULES, convention="torch", flattened={"outptu": (4, 3, 2)})
    with pytest.raises(OptionError, match=r"flattened\['relu'\]: expected .* a dense layer, got the path of ReLU"):
        import_weights(network(), path, rules=RULES, convention="torch", flattened={"relu": (4, 3, 2)})


class Rows(tgl.Layer):
    """A user's own flatten layer."""

    def forward(self, x: Any) -> Any:
        return tgl.reshape(x, shape=self.output_shape(x.shape))  # (N, H, W, C) -> (N, H*W*C)

    def output_shape(self, shape: Any) -> Any:
        return (shape[0], int(np.prod(shape[1:])))


class Net(tgl.Layer):
    """A network with layers in attributes, as in PyTorch."""

    def __init__(self) -> None:
        self.features = tgl.Sequential(conv(), Flatten())
        self.head = Dense(8, 2, rng=0)


def conv() -> Conv2d:
    return Conv2d(1, 2, kernel_size=1, rng=0)


def head() -> Dense:
    return Dense(8, 2, rng=0)


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (tgl.Sequential({"c": conv(), "f": Flatten(), "head": tgl.Sequential({"d": head()})}), "head.d"),
        (tgl.Sequential({"features": tgl.Sequential({"c": conv(), "f": Flatten()}), "d": head()}), "d"),
        (tgl.Sequential({"c": conv(), "f": tgl.layers["reshape"]((8,)), "d": head()}), "d"),
        (tgl.Sequential({"c": conv(), "f": Rows(), "relu": ReLU(), "d": head()}), "d"),
        (tgl.Sequential({"c": conv(), "f": Flatten(), "prelu": PReLU(1), "d": head()}), "d"),
        (tgl.Sequential({"c": conv(), "f": Flatten(), "norm": BatchNorm(8), "d": head()}), "norm"),
        (tgl.Sequential(conv(), Flatten(), tgl.layers["parallel_concat"]({"a": head(), "b": head()})), "2.a"),
        (Net(), "head"),
    ],
)
def test_a_flatten_is_found_in_any_structure_of_network(model: tgl.Layer, path: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=rf"expected flattened=.'{path}': .channels, height, width"):
        import_weights(model, as_npz(tmp_path, {}), convention="torch")


def test_dense_layers_without_a_flattened_map_need_no_shape(tmp_path: Path) -> None:
    mean, tokens = tgl.layers["global_avg_pool2d"](), tgl.layers["reshape"]((2, 2, 2))
    for model in (
        tgl.Sequential(conv(), mean, Dense(2, 3, rng=0)),
        tgl.Sequential(Dense(8, 8, rng=0), tokens, conv(), mean, Dense(2, 3, rng=0)),
    ):
        with pytest.raises(StateError, match="no array for the variable"):
            import_weights(model, as_npz(tmp_path, {}), convention="torch")


def test_normalization_of_a_flattened_map_is_reordered_too(tmp_path: Path) -> None:
    model = tgl.Sequential({"conv": conv(), "flatten": Flatten(), "norm": BatchNorm(8), "output": head()})
    ramp, maps = np.arange(8, dtype="float32"), {"norm": (2, 2, 2), "output": (2, 2, 2)}
    arrays = {f"norm.{name}": ramp for name in ("weight", "bias", "running_mean", "running_var")}
    arrays |= {"output.weight": np.stack([ramp, ramp]), "output.bias": ramp[:2]}
    path = as_npz(tmp_path, arrays)
    with pytest.raises(OptionError, match="'output'"):
        import_weights(model, path, convention="torch", fresh="conv.*", flattened={"norm": (2, 2, 2)})
    import_weights(model, path, convention="torch", fresh="conv.*", flattened=maps)
    channel_last = [0, 4, 1, 5, 2, 6, 3, 7]
    state = model.state()
    for name in ("scale", "shift", "running_mean", "running_var"):
        assert state[f"norm.{name}"].tolist() == channel_last
    assert state["output.weight"][:, 1].tolist() == channel_last
    assert state["output.bias"].tolist() == [0, 1]


def test_own_files_need_neither_rules_nor_conventions(tmp_path: Path) -> None:
    first, second = network(), network()
    import_weights(first, as_npz(tmp_path, theirs()), rules=RULES, convention="torch", flattened=FLATTENED)
    save_weights(first, tmp_path / "ours.safetensors")
    import_weights(second, tmp_path / "ours.safetensors")
    assert all(np.array_equal(array, second.state()[name]) for name, array in first.state().items())


def test_half_precision_is_widened(tmp_path: Path) -> None:
    arrays = {name: a.astype("float16") if a.dtype == np.float32 else a for name, a in theirs().items()}
    model = network()
    import_weights(model, as_npz(tmp_path, arrays), rules=RULES, convention="torch", flattened=FLATTENED)
    assert {array.dtype.name for array in model.state().values()} == {"float32"}


def test_rules_apply_in_order_and_stars_keep_their_position() -> None:
    rules = {"a.*.b*.weight": "x*.y.*.w", "a.*": "rest.*", "(.)": "literal"}
    assert renamed("a.1.b2.weight", rules) == "x1.y.2.w"
    assert renamed("a.1.c2.weight", rules) == "rest.1.c2.weight"
    assert renamed("z", rules) == "z"
    assert renamed("(.)", rules) == "literal"
    assert renamed("a.1", {"a.*": ""}) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": {"a.*": "b"}}, "as many"),
        ({"rules": {"a.*": 3}}, r"rules: expected a new name or None for the pattern 'a\.\*', got 3"),
        ({"rules": {"a": {"b": ""}}}, "expected a new name or None for the pattern 'a', got {'b': ''}"),
        ({"fresh": [3]}, r"expected fresh to be patterns such as 'output\.\*', got 3"),
        ({"flattened": {"output": 3}}, r"flattened\['output'\]: expected \(channels, height, width\) .*, got 3"),
        ({"flattened": {"output": ["a", "b", "c"]}}, r"expected \(channels, height, width\)"),
        ({"convention": "caffe"}, "expected convention to be one of"),
        ({"fresh": ["outptu*"]}, "expected fresh to match variables such as"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        import_weights(network(), as_npz(tmp_path, theirs()), **options)


def damaged(folder: Path) -> Path:
    path = as_npz(folder, theirs())
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    return path


def with_objects(folder: Path) -> Path:
    np.savez(folder / "objects.npz", a=np.array([{"not": "numbers"}]))
    return folder / "objects.npz"


def not_a_file(folder: Path) -> Path:
    (folder / "folder.npz").mkdir()
    return folder / "folder.npz"


def cut(folder: Path) -> Path:
    path = as_safetensors(folder, theirs())
    path.write_bytes(path.read_bytes()[:-40])
    return path


def pickled(folder: Path) -> Path:
    (folder / "weights.pth").write_bytes(b"\x80\x02.")
    return folder / "weights.pth"


@pytest.mark.parametrize("make", [damaged, with_objects, not_a_file, cut, pickled])
def test_files_that_cannot_be_read_are_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"expected .*, got|expected an \.npz"):
        read_arrays(make(tmp_path))

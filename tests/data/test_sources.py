"""The built-in data sets: reading their files, and errors about damaged ones."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from tests.data.made import random_images, tiny_cifar, tiny_mnist
from tinygrad_lab.data import load
from tinygrad_lab.data.sources import CIFAR10, CIFAR100, MNIST, Digits, FashionMNIST, ImageFolder
from tinygrad_lab.errors import DataError, OptionError

REAL = os.environ.get("TINYGRAD_LAB_DATA")  # read before the fixture `no_data_of_the_user` hides it


class TestCIFAR:
    def test_reads_both_splits(self, tmp_path: Path) -> None:
        source = tiny_cifar(tmp_path)
        for split in ("train", "test"):
            data = source().read(split, root=tmp_path)
            np.testing.assert_array_equal(data.images, source.pixels[split])
            assert data.classes == ("cat", "dog")
            assert data.name == "tiny"
        assert data.labels.tolist() == [0, 1, 0, 1]

    def test_resizes(self, tmp_path: Path) -> None:
        assert tiny_cifar(tmp_path)().read("train", root=tmp_path, size=(8, 16)).shape == (8, 16, 3)

    def test_a_damaged_batch_is_refused_before_it_is_parsed(self, tmp_path: Path) -> None:
        source = tiny_cifar(tmp_path)
        file = tmp_path / "tiny" / "batch_1"
        content = bytearray(file.read_bytes())
        content[500] ^= 1
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"batch_1: expected \d+ bytes with sha256:.*delete the file and fetch"):
            source().read("train", root=tmp_path)

    def test_a_longer_batch_is_refused(self, tmp_path: Path) -> None:
        source = tiny_cifar(tmp_path)
        with (tmp_path / "tiny" / "test").open("ab") as file:
            file.write(b"more")
        with pytest.raises(DataError, match="got more than"):
            source().read("test", root=tmp_path)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        source = tiny_cifar(tmp_path)
        (tmp_path / "tiny" / "meta").unlink()
        with pytest.raises(DataError, match=r"\(--data\): lacks tiny/meta; .*\(cache\): nothing there"):
            source().read("train", root=tmp_path)

    def test_a_wrong_count_is_refused(self, tmp_path: Path) -> None:
        source = tiny_cifar(tmp_path)
        source.sizes = {"train": 7, "test": 4}
        with pytest.raises(DataError, match="expected 7 train images, got 6"):
            source().read("train", root=tmp_path)

    def test_an_unknown_split_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r"expected one of the splits \['train', 'test'\], got 'training'"):
            tiny_cifar(tmp_path)().read("training", root=tmp_path)

    def test_both_published_sets_have_their_files(self) -> None:
        assert len(CIFAR10.files) == 7
        assert len(CIFAR100.files) == 3
        assert {file.path.split("/")[0] for file in CIFAR100.files} == {"cifar-100-python"}


class TestMNIST:
    @pytest.mark.parametrize("packed", [True, False])
    def test_reads_both_splits(self, tmp_path: Path, packed: bool) -> None:
        source = tiny_mnist(tmp_path, packed=packed)
        data = source().read("train", root=tmp_path)
        np.testing.assert_array_equal(data.images[..., 0], source.pixels)
        assert data.labels.tolist() == [0, 1, 2, 3, 4]
        assert len(source().read("test", root=tmp_path)) == 2

    def test_damage_is_refused(self, tmp_path: Path) -> None:
        source = tiny_mnist(tmp_path)
        (tmp_path / source.files[1].path).write_bytes(gzip.compress(b"something else"))
        with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz: expected"):
            source().read("train", root=tmp_path)

    def test_a_wrong_count_is_refused(self, tmp_path: Path) -> None:
        source = tiny_mnist(tmp_path)
        source.sizes = {"train": 6, "test": 2}
        with pytest.raises(DataError, match="expected 6 images and labels, got 5 and 5"):
            source().read("train", root=tmp_path)

    def test_the_layout_is_that_of_torchvision(self) -> None:
        assert MNIST.files[0].path == "MNIST/raw/train-images-idx3-ubyte.gz"
        assert FashionMNIST.files[3].path == "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz"


class TestDigits:
    def test_the_split_is_fixed_and_complete(self) -> None:
        train, test = (Digits().read(split) for split in ("train", "test"))
        assert (len(train), len(test)) == (Digits.sizes["train"], Digits.sizes["test"])
        assert sorted([*train.index, *test.index]) == list(range(1797))
        assert test.index[:8].tolist() == [14, 15, 24, 30, 34, 44, 45, 46]
        assert min(test.counts().values()) >= 35

    def test_the_original_size_holds_the_original_values(self) -> None:
        datasets = pytest.importorskip("sklearn.datasets")
        data = Digits().read("test", size=(8, 8))
        original = datasets.load_digits().images[data.index]
        np.testing.assert_array_equal(data.images[..., 0], np.rint(original * 255 / 16))

    def test_it_can_be_resized_for_lenet(self) -> None:
        data = Digits().read("train")
        assert data.shape == (32, 32, 1)
        assert data.images.max() == 255


def write_picture(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


class TestImageFolder:
    @pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n", b"BUFR", b"\x89HDF\r\n"])
    def test_reading_a_picture_starts_no_program(
        self, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("subprocess.Popen", lambda *args, **options: pytest.fail("a program was started"))
        (tmp_path / "cat").mkdir()
        (tmp_path / "cat" / "photo.png").write_bytes(content)
        with pytest.raises(DataError, match=r"photo\.png: cannot be read as a picture: cannot identify image file"):
            ImageFolder().read("train", root=tmp_path)

    def test_reads_both_splits(self, tmp_path: Path) -> None:
        pixels = random_images(3, 4, 5, 3)
        write_picture(tmp_path / "train" / "dog" / "b.png", pixels[0])
        write_picture(tmp_path / "train" / "cat" / "a.PNG", pixels[1])
        write_picture(tmp_path / "train" / "dog" / "deep" / "c.bmp", pixels[2])
        write_picture(tmp_path / "test" / "cat" / "a.png", pixels[0])
        (tmp_path / "train" / "dog" / "notes.txt").write_text("no picture")
        data = ImageFolder().read("train", root=tmp_path)
        assert data.classes == ("cat", "dog")
        assert data.labels.tolist() == [0, 1, 1]
        np.testing.assert_array_equal(data.images, pixels[[1, 0, 2]])
        assert len(ImageFolder().read("test", root=tmp_path)) == 1

    def test_a_folder_without_splits_is_for_training(self, tmp_path: Path) -> None:
        for i in range(10):
            write_picture(tmp_path / "cat" / f"{i}.png", np.full((4, 4), i, np.uint8))
        assert len(load("image_folder", root=tmp_path, validation=0.2)) == 8
        data = load("image_folder", root=tmp_path, split="validation", validation=0.2)
        assert len(data) == 2
        assert data.shape == (4, 4, 3), "gray pictures become RGB"
        with pytest.raises(OptionError, match=r"expected one of the splits \['train'\]"):
            load("image_folder", root=tmp_path, split="test")

    def test_a_test_folder_without_a_train_folder_is_refused(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "test" / "cat" / "a.png", np.zeros((4, 4), np.uint8))
        assert len(load("image_folder", root=tmp_path, split="test")) == 1
        with pytest.raises(DataError, match=r"expected .*train beside .*test, found none"):
            load("image_folder", root=tmp_path, split="train")

    @pytest.mark.parametrize("name", ["val", "valid", "validation"])
    def test_a_validation_folder_beside_train_is_used(self, name: str, tmp_path: Path) -> None:
        for folder in ("train/a", "train/b", f"{name}/b"):
            write_picture(tmp_path / folder / "0.png", np.zeros((4, 4), np.uint8))
        assert ImageFolder().splits(tmp_path) == ("train", "validation")
        assert [ImageFolder().count(split, tmp_path) for split in ("train", "validation", "test")] == [2, 1, 0]
        data = load("image_folder", split="validation", root=tmp_path)
        assert (data.classes, data.labels.tolist()) == (("a", "b"), [1])
        assert len(load("image_folder", split="train", root=tmp_path)) == 2
        for split in ("train", "validation"):
            with pytest.raises(OptionError, match=r"validation images of its own, got 0.1; set validation to 0.0"):
                load("image_folder", split=split, root=tmp_path, validation=0.1)

    def test_a_validation_folder_without_a_train_folder_is_refused(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "val" / "cat" / "a.png", np.zeros((4, 4), np.uint8))
        with pytest.raises(DataError, match=r"expected .*train beside .*val, found none"):
            load("image_folder", split="train", root=tmp_path)

    def test_pictures_that_are_not_read_are_named(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        write_picture(tmp_path / "cat" / "a.png", np.zeros((4, 4), np.uint8))
        for name in ("b.heic", "c.HEIC", "d.avif", "notes.txt"):
            (tmp_path / "cat" / name).write_bytes(b"x")
        assert len(load("image_folder", root=tmp_path)) == 1
        assert "left out pictures of formats that are not read (1 .avif, 2 .heic); convert them" in caplog.text

    def test_both_splits_number_the_classes_of_train(self, tmp_path: Path) -> None:
        for folder in ("train/a", "train/b", "train/c", "test/a", "test/c"):
            write_picture(tmp_path / folder / "0.png", np.zeros((4, 4), np.uint8))
        (tmp_path / "test" / ".thumbnails").mkdir()
        train, test = (load("image_folder", split=split, root=tmp_path) for split in ("train", "test"))
        assert train.classes == test.classes == ("a", "b", "c")
        assert train.labels.tolist() == [0, 1, 2]
        assert test.labels.tolist() == [0, 2]
        assert test.counts() == {"a": 1, "b": 0, "c": 1}

    def test_a_class_that_train_does_not_have_is_refused(self, tmp_path: Path) -> None:
        for folder in ("train/a", "train/b", "test/a", "test/bee"):
            write_picture(tmp_path / folder / "0.png", np.zeros((4, 4), np.uint8))
        told = r"only the classes of .*train, \['a', 'b'\], in .*test, also got \['bee'\]; rename"
        for split in ("train", "test"):  # before hours of training, not after
            with pytest.raises(DataError, match=told):
                load("image_folder", split=split, root=tmp_path)

    def test_a_test_folder_without_pictures_is_refused_with_the_training_pictures(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "train" / "a" / "0.png", np.zeros((4, 4), np.uint8))
        (tmp_path / "test" / "a").mkdir(parents=True)
        with pytest.raises(DataError, match=r"in subfolders of .*test, one for each class, found only the empty .*'a'"):
            load("image_folder", split="train", root=tmp_path)

    @pytest.mark.parametrize("split", ["train", "."])
    def test_a_class_without_training_pictures_is_refused(self, split: str, tmp_path: Path) -> None:
        write_picture(tmp_path / split / "full" / "0.png", np.zeros((4, 4), np.uint8))
        for name in ("bare", "void"):
            (tmp_path / split / name).mkdir()
        (tmp_path / split / "void" / "notes.txt").write_text("no picture")
        with pytest.raises(DataError, match=r"in every subfolder of .*, found none in \['bare', 'void'\]; put some"):
            load("image_folder", root=tmp_path)

    def test_a_test_split_may_lack_pictures_of_a_class(self, tmp_path: Path) -> None:
        for folder in ("train/a", "train/b", "test/b"):
            write_picture(tmp_path / folder / "0.png", np.zeros((4, 4), np.uint8))
        (tmp_path / "test" / "a").mkdir()
        assert load("image_folder", split="test", root=tmp_path).labels.tolist() == [1]

    @pytest.mark.parametrize(
        ("name", "dtype", "mode"),
        [("a.png", np.uint16, "I;16"), ("a.tif", np.uint16, "I;16"), ("a.tif", np.int32, "I"), ("a.tif", float, "F")],
    )
    def test_more_than_8_bits_a_channel_are_refused(self, name: str, dtype: type, mode: str, tmp_path: Path) -> None:
        pixels = np.full((4, 5), 3000).astype(np.float32 if dtype is float else dtype)
        write_picture(tmp_path / "cat" / name, pixels)
        with pytest.raises(DataError) as told:
            load("image_folder", root=tmp_path)
        place = tmp_path / "cat" / name
        if name == "a.png" and int(PIL.__version__.split(".")[0]) < 11:
            mode = "I"  # as older versions read 16 bits of a PNG file
        expected = f"{place}: expected a picture of 8 bits a channel, got more (Pillow's mode {mode!r}); convert it to "
        assert str(told.value).startswith(expected)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
    def test_pictures_of_8_bits_become_rgb(self, mode: str, tmp_path: Path) -> None:
        (tmp_path / "cat").mkdir()
        name = "a.tif" if mode == "CMYK" else "a.png"
        Image.fromarray(np.full((4, 5, 3), 255, np.uint8)).convert(mode).save(tmp_path / "cat" / name)
        assert (load("image_folder", root=tmp_path).images == np.full((1, 4, 5, 3), 255)).all()

    def test_a_class_may_be_called_test(self, tmp_path: Path) -> None:
        for name in ("control", "test"):
            write_picture(tmp_path / name / "a.png", np.zeros((4, 4), np.uint8))
        assert load("image_folder", root=tmp_path, split="train").classes == ("control", "test")

    def test_sizes_must_agree_or_be_given(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "cat" / "a.png", np.zeros((4, 5, 3), np.uint8))
        write_picture(tmp_path / "cat" / "b.png", np.zeros((6, 5, 3), np.uint8))
        with pytest.raises(DataError, match=r"b\.png: expected 4x5 pixels") as told:
            ImageFolder().read("train", root=tmp_path)
        reference = tmp_path / "cat" / "a.png"
        assert f"4x5 pixels (height x width) as in {reference}, got 6x5; set a size" in str(told.value)
        assert ImageFolder().read("train", root=tmp_path, size=(2, 3)).shape == (2, 3, 3)

    def test_pictures_are_turned_upright(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # Orientation: turn by 90 degrees
        write_picture(tmp_path / "cat" / "a.jpg", np.zeros((4, 8, 3), np.uint8), exif=exif)
        assert ImageFolder().read("train", root=tmp_path).shape == (8, 4, 3)

    def test_a_damaged_picture_is_named(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "cat" / "a.png", random_images(1, 30, 30, 3)[0])
        file = tmp_path / "cat" / "a.png"
        file.write_bytes(file.read_bytes()[:300])
        with pytest.raises(DataError, match=r"a\.png: cannot be read as a picture"):
            ImageFolder().read("train", root=tmp_path)
        file.write_bytes(b"not at all")
        with pytest.raises(DataError, match=r"a\.png: cannot be read as a picture"):
            ImageFolder().read("train", root=tmp_path)

    def test_a_picture_of_excessive_size_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        write_picture(tmp_path / "cat" / "a.png", np.zeros((11, 11, 3), np.uint8))
        with pytest.raises(DataError, match=r"exceeds limit"):
            ImageFolder().read("train", root=tmp_path)

    def test_empty_and_missing_folders_are_reported(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"expected pictures in subfolders of .*, found no subfolders"):
            ImageFolder().read("train", root=tmp_path)
        with pytest.raises(DataError, match="expected a folder of pictures"):
            ImageFolder().read("train", root=tmp_path / "nowhere")
        with pytest.raises(DataError, match="name it with --data"):
            ImageFolder().read("train")


@pytest.mark.skipif(REAL is None, reason="TINYGRAD_LAB_DATA names no folder with the real data sets")
@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "fashion_mnist"])
def test_real_data(name: str) -> None:
    """Classes are balanced, and the means are the commonly quoted ones."""
    means = {"cifar10": 0.473, "cifar100": 0.478, "mnist": 0.1307, "fashion_mnist": 0.2860}
    try:
        data = load(name, root=REAL)
    except DataError as error:
        pytest.skip(str(error))
    assert data.images.mean() / 255 == pytest.approx(means[name], abs=5e-4)
    if name != "mnist":
        assert len(set(data.counts().values())) == 1

"""Where pretrained weights come from, and how they are read and written."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from nni_dream.automl.models.backbones import build_backbone
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.weights import WeightsError, WeightsSource, save_own_weights


def block_of(name, **parameters):
    return read_settings("image_classification", {"block_type": {"_name": name, **parameters}}).block_type


def save(folder, version, **parameters):
    torch.manual_seed(1)
    backbone = build_backbone(block_of("resnet", version=version), (3, 16, 16), WeightsSource("tiny"))
    return backbone, save_own_weights(backbone, folder, scale="tiny", version=version, **parameters)


@pytest.mark.parametrize("version", ["resnet50", "resnet101_v2"])
def test_saved_weights_are_loaded_again(tmp_path, version):
    saved, path = save(tmp_path, version)
    block = block_of("resnet", version=version, pretrained="true")
    loaded = build_backbone(block, (3, 16, 16), WeightsSource("tiny", tmp_path))
    assert path == WeightsSource("tiny", tmp_path).find_backbone(version)
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in saved.state_dict().items())


@pytest.mark.parametrize("block", [{"_name": "resnet"}, {"_name": "efficient"}, {"_name": "xception"}])
@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_weights_fit_images_of_any_number_of_channels(tmp_path, block, n_channels):
    """An image whose channels are all alike looks as it did to the network that was trained on three."""
    torch.manual_seed(1)
    saved = build_backbone(block_of(block["_name"]), (3, 16, 16), WeightsSource("tiny")).eval()
    save_own_weights(saved, tmp_path, scale="tiny", version=block_of(block["_name"]).version)
    pretrained = block_of(block["_name"], pretrained="true")
    loaded = build_backbone(pretrained, (n_channels, 16, 16), WeightsSource("tiny", tmp_path)).eval()
    grey = torch.rand(2, 1, 16, 16)
    seen, expected = loaded(grey.repeat(1, n_channels, 1, 1)), saved(grey.repeat(1, 3, 1, 1))
    assert torch.allclose(seen, expected, rtol=1e-3, atol=1e-4)


def test_a_file_of_weights_says_where_they_come_from(tmp_path):
    backbone = build_backbone(block_of("resnet"), (3, 16, 16), WeightsSource("tiny"))
    path = save_own_weights(backbone, tmp_path, scale="tiny", version="resnet50", origin={"data": "mine", "seed": 3})
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"data": "mine", "seed": "3"}
    assert list(tmp_path.iterdir()) == [path]  # no draft is left


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_weights_may_be_torch_files(tmp_path, suffix):
    saved, path = save(tmp_path, "resnet50")
    path.unlink()
    torch.save(saved.state_dict(), path.with_suffix(suffix))
    loaded = build_backbone(block_of("resnet", pretrained="true"), (3, 16, 16), WeightsSource("tiny", tmp_path))
    assert torch.equal(loaded.stem[0].weight, saved.stem[0].weight)


def test_weights_of_a_published_network_are_read_from_the_folder(tmp_path, no_caches):
    torch.manual_seed(1)
    saved = build_backbone(block_of("efficient"), (3, 64, 64), WeightsSource("full"))
    torch.save(saved.state_dict(), tmp_path / "tf_efficientnet_b0.pth")
    block = block_of("efficient", pretrained="true")
    for n_channels in (3, 1):  # timm fits the first convolution to other numbers of channels
        loaded = build_backbone(block, (n_channels, 64, 64), WeightsSource("full", tmp_path))
        assert torch.equal(loaded.conv_head.weight, saved.conv_head.weight)
        assert loaded.conv_stem.weight.shape[1] == n_channels


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ("tiny", r"pretrained = true needs the weights tiny-resnet50: not in .*weights; nni-dream pretrain "),
        ("full", r"needs the weights resnet50: not in .*weights, not in timm's cache; --download fetches them$"),
    ],
)
def test_missing_weights_are_named(no_caches, scale, message):
    with pytest.raises(WeightsError, match=message):
        WeightsSource(scale, no_caches / "weights").backbone("resnet50")


def test_without_a_folder_the_message_says_so(no_caches):
    with pytest.raises(WeightsError, match=r"tiny-b3: no --weights-dir was given; nni-dream pretrain makes them$"):
        WeightsSource("tiny").backbone("b3")


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n"], ids=["empty", "pointer"])
def test_torch_files_that_are_no_weights_are_named(tmp_path, content):
    (tmp_path / "tiny-resnet50.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"tiny-resnet50\.pth: are not weights of this backbone: "):
        build_backbone(
            block_of("resnet", version="resnet50", pretrained="true"), (3, 16, 16), WeightsSource("tiny", tmp_path)
        )


def test_a_torch_file_with_a_wrong_byte_is_named(tmp_path):
    saved, path = save(tmp_path, "resnet50")
    path.unlink()
    torch.save(saved.state_dict(), path := path.with_suffix(".pth"))
    path.write_bytes(path.read_bytes().replace(b"OrderedDict\nq\0", b"OrderedDict\nq\1"))  # KeyError
    block = block_of("resnet", pretrained="true")
    with pytest.raises(WeightsError, match=r"tiny-resnet50\.pth: are not weights of this backbone: ") as raised:
        build_backbone(block, (3, 16, 16), WeightsSource("tiny", tmp_path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"no weights", None])
def test_weights_that_do_not_fit_are_named(tmp_path, content):
    _, path = save(tmp_path, "resnet50")
    if content is None:
        path.rename(tmp_path / "tiny-resnet101.safetensors")  # of a network with fewer layers
    else:
        (tmp_path / "tiny-resnet101.safetensors").write_bytes(content)
    with pytest.raises(
        WeightsError, match=r"tiny-resnet101\.safetensors: are not weights of this backbone: "
    ) as raised:
        build_backbone(
            block_of("resnet", version="resnet101", pretrained="true"), (3, 16, 16), WeightsSource("tiny", tmp_path)
        )
    assert "\n" not in str(raised.value)


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for timm's default resnet50, and for nothing else."""

    content = b"weights of a resnet50"

    def do_HEAD(self):
        is_known = self.path == "/timm/resnet50.a1_in1k/resolve/main/model.safetensors"
        self.send_response(200 if is_known else 404)
        self.send_header("ETag", '"0123abcd"')
        self.send_header("X-Repo-Commit", "f" * 40)
        self.send_header("Content-Length", str(len(self.content) if is_known else 0))
        self.end_headers()
        return is_known

    def do_GET(self):
        if self.do_HEAD():
            self.wfile.write(self.content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    """The address of a hub on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def find_published(version, *, folder, endpoint, download):
    """Ask in a process of its own, which reads these addresses when it imports the libraries."""
    ask = (
        "from nni_dream.automl.weights import WeightsSource\n"
        f"print(WeightsSource('full', download={download}).find_backbone({version!r}))"
    )
    own = {"HF_HUB_CACHE": str(folder / "hub"), "TORCH_HOME": str(folder / "torch"), "HF_ENDPOINT": endpoint}
    done = subprocess.run(
        [sys.executable, "-c", ask], env=os.environ | own, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1], done.stderr


def test_published_weights_are_fetched_only_if_asked_and_then_kept(hub, tmp_path):
    found, _ = find_published("resnet50", folder=tmp_path, endpoint=hub, download=False)
    assert found == "None"
    found, _ = find_published("resnet50", folder=tmp_path, endpoint=hub, download=True)
    assert Path(found).read_bytes() == Hub.content
    again, _ = find_published("resnet50", folder=tmp_path, endpoint="http://127.0.0.1:9", download=False)
    assert again == found


def test_weights_in_torchs_own_cache_are_found(tmp_path):
    kept = tmp_path / "torch" / "hub" / "checkpoints" / "xception-43020ad28.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    found, _ = find_published("xception", folder=tmp_path, endpoint="http://127.0.0.1:9", download=False)
    assert found == str(kept)


@pytest.mark.parametrize("endpoint", ["hub", "http://127.0.0.1:9"])  # which has no such weights, and which is not there
def test_weights_that_cannot_be_fetched_are_told_and_leave_the_space(endpoint, hub, tmp_path):
    endpoint = hub if endpoint == "hub" else endpoint
    found, errors = find_published("b0", folder=tmp_path, endpoint=endpoint, download=True)
    assert found == "None"
    assert "weights tf_efficientnet_b0 cannot be downloaded: " in errors

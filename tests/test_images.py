"""Images in prompts: what becomes a content part, and what is refused."""

from __future__ import annotations

import base64
import io
import subprocess
import sys

import pytest

from helix_nb.errors import ConfigError
from helix_nb.prompts.images import MAX_BYTES, image_part

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
KINDS = {
    "png": PNG,
    "jpeg": b"\xff\xd8\xff\xe0rest",
    "gif": b"GIF89arest",
    "webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
}


def decoded(part: dict) -> tuple[str, bytes]:
    head, data = part["image_url"]["url"].split(",", 1)
    return head, base64.b64decode(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_sent_by_what_it_holds(tmp_path, kind):
    """The kind comes from the first bytes, not from the name; paths, strings and bytes are alike."""
    path = tmp_path / "wrong.txt"
    path.write_bytes(KINDS[kind])
    for source in (path, str(path), KINDS[kind], bytearray(KINDS[kind])):
        assert decoded(image_part(source)) == (f"data:image/{kind};base64", KINDS[kind])


@pytest.mark.parametrize(
    "url", ["https://example.org/a.png", "HTTP://127.0.0.1:9/x", "data:image/png;base64,AAAA"]
)
def test_a_url_is_passed_on_and_never_fetched(url):
    """A URL goes to the endpoint as it is."""
    assert image_part(url) == {"type": "image_url", "image_url": {"url": url}}


def test_a_figure_and_its_axes_are_drawn():
    """A matplotlib figure, or axes of one, is sent as the PNG it draws."""
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    axes.plot([1, 2])
    for source in (axes.figure, axes):
        head, data = decoded(image_part(source))
        assert head == "data:image/png;base64"
        assert data.startswith(KINDS["png"][:8])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "CMYK", "F"])
def test_a_pil_image_is_sent_as_png(mode):
    """A PIL image of any mode arrives with its size and, where PNG has it, its mode."""
    image_module = pytest.importorskip("PIL.Image")
    _, data = decoded(image_part(image_module.new(mode, (3, 2))))
    back = image_module.open(io.BytesIO(data))
    assert (back.size, back.format) == ((3, 2), "PNG")
    assert back.mode == (mode if mode not in ("CMYK", "F") else "RGB")


def test_what_is_no_image_is_refused_in_one_sentence(tmp_path):
    """Missing, unreadable, foreign and oversized things each say what they are and what to do."""
    text = tmp_path / "a.png"
    text.write_text("<svg onload=x>")
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.write(PNG)
        file.truncate(MAX_BYTES + 1)
    for source, sentence in (
        (tmp_path / "none.png", r"There is no image '.*none\.png' \(working directory: .*\)\."),
        (tmp_path, "is a directory, not an image"),
        (text, r"a\.png' is not a PNG, JPEG, GIF or WebP file\."),
        (b"", r"The image is not a PNG, JPEG, GIF or WebP file\."),
        (huge, r"has 7\.0 MB; at most 7 MB can be sent\."),
        (PNG + bytes(MAX_BYTES), "The image has 7.0 MB"),
        ("a\x00b", "cannot be read"),
        (5, "not int"),
        (object(), "An image is a path, URL, bytes, PIL image or matplotlib figure, not object"),
    ):
        with pytest.raises(ConfigError, match=sentence) as caught:
            image_part(source)
        assert "\n" not in str(caught.value)


def test_a_missing_image_is_a_sentence_where_the_working_directory_is_gone(tmp_path, monkeypatch):
    """The sentence says where it looked, also when that folder was deleted meanwhile."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match=r"There is no image 'a\.png' \(working directory: gone\)\."):
        image_part("a.png")


def test_neither_pil_nor_matplotlib_is_imported_for_a_file(tmp_path):
    """Sending a file needs no imaging library."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    code = (
        f"import sys; from helix_nb.prompts.images import image_part; image_part({str(path)!r}); "
        "print([name for name in ('PIL', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

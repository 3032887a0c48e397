"""The README.md files of reproduced write-ups."""

from __future__ import annotations

from pyvae.reproduction.readme import _markdown, folder_readme


def test_text_of_others_is_no_markdown():
    shown = _markdown("x.png <script>&</script> | [a](http://b) `c` \x1b[31m\nsecond *line* p_q")
    assert shown == (
        r"x.png &lt;script&gt;&amp;&lt;/script&gt; \| \[a\](http://b) \`c\` \\x1b\[31m second "
        r"\*line\* p_q"
    )


def test_the_folder_lists_what_is_there_in_the_articles_order(tmp_path):
    for name in ("beta", "mlp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").touch()
    (tmp_path / "conv").mkdir()  # has none
    lines = folder_readme(tmp_path).splitlines()
    assert lines[0] == "# 2 write-ups, reproduced"
    listed = [line.partition("](")[0] for line in lines if line.startswith("- [")]
    assert listed == ["- [mlp", "- [beta"]

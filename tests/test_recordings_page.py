"""The script that fills docs/recordings.md puts outputs below their commands, and nowhere else."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "make_recordings.py"))
PAGE = """# Page

```
nwbdyn fit ADDRESS    no command to run
```

```
$ nwbdyn fit worm.nwb -o worm
an earlier table
worm
$ nwbdyn export worm
worm.nwb
```

```
$ nwbdyn fit rat.nwb
an earlier table
```
"""


def test_outputs_stand_below_their_commands():
    page = SCRIPT["with_outputs"](PAGE, lambda command: f"ran {command}\n", ["worm"])
    assert "$ nwbdyn fit worm.nwb -o worm\nran nwbdyn fit worm.nwb -o worm\n$ nwbdyn exp" in page
    assert "$ nwbdyn export worm\nran nwbdyn export worm\n```" in page
    assert "no command to run" in page
    assert page.endswith("$ nwbdyn fit rat.nwb\nan earlier table\n```\n")  # not chosen


def test_every_command_on_the_page_is_run():
    commands = []
    text = SCRIPT["PAGE"].read_text("utf-8")
    SCRIPT["with_outputs"](text, lambda command: commands.append(command) or "", [])
    assert [command for command in commands if command.startswith("nwbdyn fit")]
    assert len(commands) == sum(line.startswith("$ ") for line in text.splitlines())


def test_every_file_on_the_page_is_known():
    text = SCRIPT["PAGE"].read_text("utf-8")
    for name in SCRIPT["FILES"]:
        assert f"$ nwbdyn fit {name} " in text
    for name in SCRIPT["ARCHIVED"]:
        assert name.partition("/")[2] in text

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
    (block,) = SCRIPT["chosen_blocks"](PAGE, ["worm"])
    assert SCRIPT["with_outputs"](block, lambda command: f"ran {command}\n") == (
        "$ nwbdyn fit worm.nwb -o worm\nran nwbdyn fit worm.nwb -o worm\n"
        "$ nwbdyn export worm\nran nwbdyn export worm\n"
    )


def test_without_a_choice_every_block_of_commands_is_run():
    worm, rat = SCRIPT["chosen_blocks"](PAGE, [])
    assert worm.startswith("$ nwbdyn fit worm.nwb")
    assert rat == "$ nwbdyn fit rat.nwb\nan earlier table\n"


def test_every_command_on_the_page_is_in_a_block():
    text = SCRIPT["PAGE"].read_text("utf-8")
    blocks = SCRIPT["chosen_blocks"](text, [])
    commands = sum(line.startswith("$ ") for block in blocks for line in block.splitlines())
    assert commands == sum(line.startswith("$ ") for line in text.splitlines()) > 4


def test_every_file_on_the_page_is_known():
    text = SCRIPT["PAGE"].read_text("utf-8")
    for name in SCRIPT["FILES"]:
        assert f"$ nwbdyn fit {name} " in text
    for name in SCRIPT["ARCHIVED"]:
        assert name.partition("/")[2] in text

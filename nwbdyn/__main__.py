"""`python -m nwbdyn`: the command line, for launchers that start modules, such as torchrun."""

from nwbdyn.cli import main

if __name__ == "__main__":
    main(prog_name="nwbdyn")

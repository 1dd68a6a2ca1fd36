"""`python -m xtiger.sandbox`: the sandbox without the rest of XTiger."""

from xtiger.sandbox.command import command

if __name__ == "__main__":
    command(prog_name="xtiger sandbox")

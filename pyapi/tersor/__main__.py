"""python -m tersor: the `tersor` command."""

from .cli import main

if __name__ == "__main__":
    main()

"""`python -m jensen`, the same as `jensen`."""

from jensen.cli import main

if __name__ == "__main__":
    main()

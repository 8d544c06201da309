"""`python -m lambent` is `lambent`."""

from lambent.cli import main

if __name__ == "__main__":
    main()

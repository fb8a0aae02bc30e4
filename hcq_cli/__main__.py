"""`python -m hcq_cli` is the same program as `hcq`."""

from hcq_cli.app import main

if __name__ == "__main__":
    main()

"""What the tests of several worlds share."""

import tempfile

import pytest


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """Where the package's mazes leave the file of their model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("mazes")))
        yield

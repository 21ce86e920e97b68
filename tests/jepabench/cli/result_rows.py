"""A row for tests of tables."""

import dataclasses

from jepabench.evaluation.records import EpisodeRecord

RECORD = EpisodeRecord(
    **{
        item.name: {"str": "x", "int": 1, "float": 1.0, "bool": True}[str(item.type)]
        for item in dataclasses.fields(EpisodeRecord)
    }
)

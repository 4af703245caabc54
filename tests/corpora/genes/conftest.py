from __future__ import annotations

from collections.abc import Callable

import pytest

WriteRecord = Callable[..., str]


@pytest.fixture(scope="session")
def write_record() -> WriteRecord:
    """Writes one GenBank record of letters and features."""

    def write(
        letters: str,
        *features: str,
        name: str = "R",
        molecule: str = "DNA",
        topology: str = "linear",
        source: tuple[str, ...] = ('organism="Zea mays"', 'db_xref="taxon:4577"'),
        origin: bool = True,
        end: str = "//\n",
    ) -> str:
        lines = [
            f"LOCUS       {name} {len(letters)} bp    {molecule}     {topology}   UNK 01-JAN-2000",
            f"ACCESSION   {name}",
            f"VERSION     {name}.1",
            "SOURCE      maize",
            "  ORGANISM  Zea mays mays",
            "FEATURES             Location/Qualifiers",
        ]
        if source:
            lines += [f"     source          1..{len(letters)}"]
            lines += [f"{' ' * 21}/{qualifier}" for qualifier in source]
        for feature in features:
            location, *qualifiers = feature.split(" /")
            lines += [f"     CDS             {location}"]
            lines += [f"{' ' * 21}/{qualifier}" for qualifier in qualifiers]
        if origin:
            lines += ["ORIGIN"]
            for at in range(0, len(letters), 60):
                groups = (letters[n : n + 10] for n in range(at, min(at + 60, len(letters)), 10))
                lines += [f"{at + 1:9} {' '.join(groups)}".lower()]
        return "\n".join(lines) + "\n" + end

    return write

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from biote.corpora.download.catalogue import DATASETS, ListedFiles, ManualSteps, find_dataset
from biote.corpora.download.expand import Selection, parse_identifiers
from biote.corpora.download.fetch import fetch_plans, make_transports
from biote.corpora.download.files import Standing
from biote.corpora.download.plan import Plan, make_plan, manual_steps
from biote.corpora.download.retry import Retry
from biote.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tests.corpora.download.conftest import FtpServer, HttpServer

# The ways in which web servers write a folder: rounded sizes after the link, exact ones, none.
ROUNDED = """<html><body><h1>Index of /genbank</h1><pre>
<a href="?C=N;O=D">Name</a> <a href="?C=M;O=A">Last modified</a> <a href="?C=S;O=A">Size</a><hr>
<a href="/">Parent Directory</a>                     -
<a href="daily-nc/">daily-nc/</a>              2025-02-20 04:11    -
<a href="GB_Release_Number">GB_Release_Number</a>      2025-02-19 21:40    4
<a href="README.genbank">README.genbank</a>         2024-06-01 09:00  9.1K
<a href="gbbct1.seq.gz">gbbct1.seq.gz</a>          2025-02-15 10:12  103M
<a href="gbbct10.seq.gz">gbbct10.seq.gz</a>         2025-02-15 10:13  1.2G
<a href="gbbct2.seq.gz">gbbct2.seq.gz</a>          2025-02-15 10:12   98M
<a href="gbcon1.seq.gz">gbcon1.seq.gz</a>          2025-02-15 10:14   30M
<a href="gbvrl1.seq.gz">gbvrl1.seq.gz</a>          2025-02-15 10:15  999
<hr></pre></body></html>"""
PLAIN = """<ul><li><a href="/genbank/gbvrl1.seq.gz">gbvrl1.seq.gz</a></li>
<li><a href="./gbphg%31.seq.gz">gbphg1.seq.gz</a></li></ul>"""


IIS = """<html><body><h1>host - /genbank/</h1><hr><pre><A HREF="/">[To Parent Directory]</A><br><br>
 2/15/2025 10:10 AM        &lt;dir&gt; <A HREF="/genbank/daily/">daily</A><br>
 2/15/2025 10:12 AM     12345678 <A HREF="/genbank/gbbct1.seq.gz">gbbct1.seq.gz</A><br>
15.02.2025    22:13          999 <A HREF="/genbank/gbbct2.seq.gz">gbbct2.seq.gz</A><br>
 2/15/2025 10:14 AM            4 <A HREF="/genbank/GB_Release_Number">GB_Release_Number</A><br>
 </pre></body></html>"""


def zipped(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


def plan_of(name: str, out: Path, address: str | None, selection: Selection | None = None) -> Plan:
    return make_plan(
        find_dataset(name),
        out,
        selection=selection or Selection(),
        transport_for=make_transports(5.0),
        retry=Retry(retries=0, sleep=lambda _: None),
        address=address,
    )


def fetch(plan: Plan) -> None:
    fetch_plans(
        [plan],
        transport_for=make_transports(5.0),
        retry=Retry(retries=0, sleep=lambda _: None),
        on_file=lambda *_: None,
    )


def names(plan: Plan) -> list[str]:
    return [file.target.name for file in plan.files]


@pytest.fixture
def genbank(http: HttpServer) -> HttpServer:
    """A release folder as NCBI lists it."""
    http.put("genbank/", ROUNDED.encode())
    http.put("genbank/GB_Release_Number", b"264\n")
    for name in ("gbbct1", "gbbct2", "gbbct10", "gbcon1", "gbvrl1"):
        http.put(f"genbank/{name}.seq.gz", zipped(name.encode() * 10))
    return http


class TestGenbank:
    def test_a_division_is_expanded_in_the_order_of_its_numbers(
        self, genbank: HttpServer, tmp_path: Path
    ) -> None:
        selection = Selection(divisions=frozenset({"bct", "vrl"}))
        plan = plan_of("genbank", tmp_path, f"{genbank.address}genbank", selection)
        assert names(plan) == [
            "gbbct1.seq.gz",
            "gbbct2.seq.gz",
            "gbbct10.seq.gz",
            "gbvrl1.seq.gz",
        ]
        assert plan.release == "264"
        assert [(file.bytes, file.exact) for file in plan.files] == [
            (103 << 20, False),
            (98 << 20, False),
            (round(1.2 * (1 << 30)), False),
            (999, True),
        ]
        assert plan.files[0].address == f"{genbank.address}genbank/gbbct1.seq.gz"
        assert plan.files[0].target == tmp_path / "genbank" / "gbbct1.seq.gz"
        assert [asked.path for asked in genbank.asked] == [
            "/genbank/",
            "/genbank/GB_Release_Number",
        ]

    def test_all_divisions_but_those_without_sequences(
        self, genbank: HttpServer, tmp_path: Path
    ) -> None:
        address = f"{genbank.address}genbank/"
        assert "gbcon1.seq.gz" not in names(plan_of("genbank", tmp_path, address))
        asked = Selection(divisions=frozenset({"con"}))
        assert names(plan_of("genbank", tmp_path, address, asked)) == ["gbcon1.seq.gz"]

    def test_a_division_that_is_not_there_is_answered_with_those_that_are(
        self, genbank: HttpServer, tmp_path: Path
    ) -> None:
        selection = Selection(divisions=frozenset({"bct", "xyz"}))
        with pytest.raises(ConfigError, match=r"--division: no division xyz; .*bct, con, vrl"):
            plan_of("genbank", tmp_path, f"{genbank.address}genbank/", selection)

    def test_sizes_that_the_listing_does_not_tell_are_asked_for(
        self, genbank: HttpServer, tmp_path: Path
    ) -> None:
        genbank.put("genbank/", PLAIN.encode())
        genbank.put("genbank/gbphg1.seq.gz", zipped(b"12345"))
        plan = plan_of("genbank", tmp_path, f"{genbank.address}genbank/")
        assert names(plan) == ["gbphg1.seq.gz", "gbvrl1.seq.gz"]
        sizes = [len(zipped(b"12345")), len(zipped(b"gbvrl1" * 10))]
        assert [file.bytes for file in plan.files] == sizes
        assert plan.missing_bytes() == sum(sizes)

    def test_sizes_before_the_links_are_read_exactly(
        self, genbank: HttpServer, tmp_path: Path
    ) -> None:
        genbank.put("genbank/", IIS.encode())
        plan = plan_of("genbank", tmp_path, f"{genbank.address}genbank/")
        assert [(file.target.name, file.bytes, file.exact) for file in plan.files] == [
            ("gbbct1.seq.gz", 12_345_678, True),
            ("gbbct2.seq.gz", 999, True),
        ]

    def test_over_ftp_with_and_without_machine_listings(
        self, ftp: FtpServer, tmp_path: Path
    ) -> None:
        folder = ftp.root / "genbank"
        folder.mkdir()
        (folder / "GB_Release_Number").write_text("264")
        small, large = zipped(b"22"), zipped(b"11 11 11 11")
        (folder / "gbbct2.seq.gz").write_bytes(small)
        (folder / "gbbct11.seq.gz").write_bytes(large)
        plan = plan_of("genbank", tmp_path / "a", f"{ftp.address}genbank")
        assert [(f.target.name, f.bytes, f.exact) for f in plan.files] == [
            ("gbbct2.seq.gz", len(small), True),
            ("gbbct11.seq.gz", len(large), True),
        ]
        fetch(plan)
        assert (tmp_path / "a/genbank/gbbct11.seq.gz").read_bytes() == large
        ftp.without = {"MLSD"}
        plan = plan_of("genbank", tmp_path / "b", f"{ftp.address}genbank")
        assert [(f.target.name, f.bytes) for f in plan.files] == [
            ("gbbct2.seq.gz", len(small)),
            ("gbbct11.seq.gz", len(large)),
        ]

    def test_a_folder_does_not_become_a_mixture_of_releases(
        self, genbank: HttpServer, tmp_path: Path
    ) -> None:
        genbank.put("genbank/", PLAIN.encode())
        genbank.put("genbank/gbphg1.seq.gz", zipped(b"12345"))
        address = f"{genbank.address}genbank/"
        fetch(plan_of("genbank", tmp_path, address))
        genbank.put("genbank/GB_Release_Number", b"265\n")
        with pytest.raises(ConfigError, match="files of release 264, the server has 265"):
            plan_of("genbank", tmp_path, address)
        for path in (tmp_path / "genbank").glob("*.gz"):
            path.unlink()
        assert plan_of("genbank", tmp_path, address).release == "265"

    def test_a_mirror_without_a_release_number_is_said(
        self, genbank: HttpServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        del genbank.files["/genbank/GB_Release_Number"]
        plan = plan_of("genbank", tmp_path, f"{genbank.address}genbank/")
        assert plan.release is None
        assert "that all files are of one release is not checked" in caplog.text

    def test_a_release_that_is_no_number_is_refused(
        self, genbank: HttpServer, tmp_path: Path
    ) -> None:
        genbank.put("genbank/GB_Release_Number", b"<html>moved</html>")
        with pytest.raises(DataError, match="'<html>moved</html>' is no number of a release"):
            plan_of("genbank", tmp_path, f"{genbank.address}genbank/")

    def test_an_ftp_server_that_tells_neither_size_nor_time(
        self, ftp: FtpServer, tmp_path: Path
    ) -> None:
        content = zipped(b"letters")
        (ftp.root / "1abc.cif.gz").write_bytes(content)
        ftp.refused = {"SIZE": "550 not in this mode.", "MDTM": "451 try later."}
        plan = plan_of("pdb", tmp_path, ftp.address, Selection(identifiers=("1abc",)))
        assert [file.bytes for file in plan.files] == [None]
        fetch(plan)
        assert (tmp_path / "pdb/1abc.cif.gz").read_bytes() == content

    def test_a_size_that_is_no_number_is_none(self, ftp: FtpServer, tmp_path: Path) -> None:
        content = zipped(b"letters")
        (ftp.root / "1abc.cif.gz").write_bytes(content)
        ftp.refused = {"SIZE": f"213 {'9' * 5000}"}
        plan = plan_of("pdb", tmp_path, ftp.address, Selection(identifiers=("1abc",)))
        assert [(file.bytes, file.exact) for file in plan.files] == [(None, False)]
        fetch(plan)
        assert (tmp_path / "pdb/1abc.cif.gz").read_bytes() == content

    @pytest.mark.parametrize("page", [b"", b"<a href='other.txt'>other</a>", b"\xff\x00<a href"])
    def test_a_page_that_is_no_listing_is_one_line(
        self, http: HttpServer, tmp_path: Path, page: bytes
    ) -> None:
        http.put("x/", page)
        with pytest.raises(DataError, match="no file of the release in the listing"):
            plan_of("genbank", tmp_path, f"{http.address}x/")


def metalink(content: bytes, name: str = "uniref50.fasta.gz", **more: str) -> bytes:
    size = more.get("size", str(len(content)))
    digest = more.get("md5", hashlib.md5(content).hexdigest())
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/"><version>2025_01</version><files>
 <file name="uniref50.xml.gz"><size>1</size>
  <verification><hash type="md5">0</hash></verification></file>
 <file name="{name}"><size>{size}</size>
  <verification><hash type="md5">{digest}</hash></verification>
  <resources><url>ftp://ignored/</url></resources></file>
</files></metalink>""".encode()


class TestUniref:
    def test_size_and_checksum_come_from_the_release(
        self, http: HttpServer, tmp_path: Path
    ) -> None:
        content = b"proteins" * 100
        http.put("u/RELEASE.metalink", metalink(content))
        http.put("u/uniref50.fasta.gz", content)
        plan = plan_of("uniref50", tmp_path, f"{http.address}u")
        assert plan.release == "2025_01"
        (file,) = plan.files
        assert (file.bytes, file.exact) == (800, True)
        assert file.checksum == f"md5:{hashlib.md5(content).hexdigest()}"
        fetch(plan)
        assert file.target.read_bytes() == content

    @pytest.mark.parametrize(
        "document",
        [
            b"<html>",
            metalink(b"x", name="other.gz"),
            metalink(b"x", size="many"),
            b'<metalink xmlns="http://www.metalinker.org/"/>',
        ],
    )
    def test_a_release_that_does_not_tell_is_one_line(
        self, http: HttpServer, tmp_path: Path, document: bytes
    ) -> None:
        http.put("u/RELEASE.metalink", document)
        with pytest.raises(DataError, match=r"RELEASE.metalink: does not tell size and MD5"):
            plan_of("uniref50", tmp_path, f"{http.address}u")

    def test_a_file_is_checked_by_its_checksum_and_then_trusted_while_unchanged(
        self, http: HttpServer, tmp_path: Path
    ) -> None:
        content = b"proteins" * 100
        http.put("u/RELEASE.metalink", metalink(content))
        http.put("u/uniref50.fasta.gz", content)
        address = f"{http.address}u"
        target = tmp_path / "uniref50" / "uniref50.fasta.gz"
        target.parent.mkdir()

        target.write_bytes(content)  # brought by hand, right
        plan = plan_of("uniref50", tmp_path, address)
        assert plan.files[0].standing is Standing.DONE
        fetch(plan)
        assert "/u/uniref50.fasta.gz" not in [asked.path for asked in http.asked]

        target.write_bytes(b"?" * len(content))  # of the same size, wrong
        os.utime(target, (1, 1))
        plan = plan_of("uniref50", tmp_path, address)
        assert plan.files[0].standing is Standing.WRONG
        assert plan.missing_bytes() == len(content)
        http.script = [http.answer(content=b"!" * len(content))] * 2
        with pytest.raises(DataError, match="corrupt: its checksum differs"):
            fetch(plan)
        assert target.read_bytes() == b"?" * len(content)  # until the right one is there
        fetch(plan)
        assert target.read_bytes() == content
        assert plan_of("uniref50", tmp_path, address).files[0].standing is Standing.DONE

        newer = b"newer"  # the release changed its checksum under the same name
        http.put("u/RELEASE.metalink", metalink(newer))
        assert plan_of("uniref50", tmp_path, address).files[0].standing is Standing.WRONG


class TestWhatIsThere:
    def test_files_without_checksum_are_compared_by_size(
        self, http: HttpServer, tmp_path: Path
    ) -> None:
        whole = zipped(b"structure")
        begun = len(whole) - 3
        for name in ("1abc", "2abc", "3abc", "4abc"):
            http.put(f"{name}.cif.gz", whole)
        folder = tmp_path / "pdb"
        folder.mkdir()
        (folder / "1abc.cif.gz").write_bytes(whole)
        (folder / "2abc.cif.gz").write_bytes(whole[:begun])
        (folder / "3abc.cif.gz.part").write_bytes(whole[:begun])
        state = {"address": f"{http.address}3abc.cif.gz", "validator": '"one"', "bytes": len(whole)}
        (folder / "3abc.cif.gz.part.json").write_text(json.dumps(state))
        selection = Selection(identifiers=("1abc", "2abc", "3abc", "4abc"))
        plan = plan_of("pdb", tmp_path, http.address, selection)
        assert [file.standing for file in plan.files] == [
            Standing.DONE,
            Standing.WRONG,
            Standing.PART,
            Standing.MISSING,
        ]
        assert plan.missing_bytes() == 2 * len(whole) + 3
        assert http.gets() == []
        fetch(plan)
        assert sorted(path.name for path in folder.iterdir()) == [
            *(f"{name}.cif.gz" for name in selection.identifiers),
            "download.json",
        ]
        http.asked.clear()
        again = plan_of("pdb", tmp_path, http.address, selection)
        assert again.wanted() == []
        assert http.asked == []

    def test_an_entry_that_does_not_exist_is_said_before_anything_is_fetched(
        self, http: HttpServer, tmp_path: Path
    ) -> None:
        http.put("1abc.cif.gz", b"structure")
        selection = Selection(identifiers=("1abc", "9zzz"))
        with pytest.raises(DataError, match=r"9zzz.cif.gz: not on the server"):
            plan_of("pdb", tmp_path, http.address, selection)
        assert not (tmp_path / "pdb").exists()

    def test_a_receipt_that_cannot_be_read_is_one_line(
        self, http: HttpServer, tmp_path: Path
    ) -> None:
        (tmp_path / "pdb").mkdir()
        (tmp_path / "pdb" / "download.json").write_text("[]")
        with pytest.raises(DataError, match=r"download.json: cannot be read .*; remove it"):
            plan_of("pdb", tmp_path, http.address, Selection(identifiers=("1abc",)))


class TestIdentifiers:
    def test_from_an_option_or_a_file(self, tmp_path: Path) -> None:
        assert parse_identifiers("1LCD, 5ugo,1lcd") == ("1lcd", "5ugo")
        path = tmp_path / "ids.txt"
        path.write_text("# complexes\n1LCD 5UGO\n\n2abc, 3abc # last\n")
        assert parse_identifiers(f"file:{path}") == ("1lcd", "5ugo", "2abc", "3abc")

    def test_a_file_that_is_not_there_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="cannot be read as a list of ids"):
            parse_identifiers(f"file:{tmp_path}/none")

    @pytest.mark.parametrize("ids", [(), ("1lcdx",), ("abcd",), ("../1",)])
    def test_what_is_no_id_is_refused(self, tmp_path: Path, ids: tuple[str, ...]) -> None:
        with pytest.raises(ConfigError, match="--ids"):
            plan_of("pdb", tmp_path, "http://127.0.0.1/", Selection(identifiers=ids))


class TestCatalogue:
    def test_addresses_are_secure_folders_and_checksums_of_a_known_kind(self) -> None:
        lengths = {"md5": 32, "sha256": 64}
        for dataset in DATASETS.values():
            assert dataset.address.startswith("https://")
            if isinstance(dataset.contents, ManualSteps):
                assert any("{address}" in step for step in dataset.contents.steps)
                continue
            assert dataset.address.endswith("/")
            for file in getattr(dataset.contents, "files", ()):
                if file.checksum:
                    kind, _, digest = file.checksum.partition(":")
                    assert len(bytes.fromhex(digest)) * 2 == lengths[kind]

    def test_manual_steps_name_the_page_and_the_folder(self, tmp_path: Path) -> None:
        steps = " ".join(manual_steps(find_dataset("gue"), tmp_path))
        assert DATASETS["gue"].address in steps
        assert str(tmp_path / "gue") in steps

    def test_a_manual_dataset_cannot_be_planned(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="nothing a program may fetch"):
            plan_of("gue", tmp_path, None)

    def test_a_name_nearly_right_is_answered_with_the_right_one(self) -> None:
        with pytest.raises(ConfigError, match="no dataset 'uniref9'; did you mean uniref90"):
            find_dataset("uniref9")

    def test_names_of_release_files_are_told_from_others(self) -> None:
        contents = DATASETS["genbank"].contents
        assert isinstance(contents, ListedFiles)
        assert "con" in contents.without_sequences


def test_the_catalogue_agrees_with_the_real_files() -> None:
    """Sizes and digests of the fixed files, against copies of them."""
    import gzip

    from biote.corpora.download.catalogue import FixedFiles

    root = os.environ.get("BIOTE_DATA")
    if not root:
        pytest.skip("BIOTE_DATA is not set: no real data")
    checked = 0
    for name, folder in (("pronab", "pronab"), ("jaspar-proteins", "jaspar")):
        contents = DATASETS[name].contents
        assert isinstance(contents, FixedFiles)
        for file in contents.files:
            path = Path(root) / folder / file.path
            content = (
                path.read_bytes()
                if path.exists()
                else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())
            )
            assert file.bytes == len(content)
            assert file.checksum == f"sha256:{hashlib.sha256(content).hexdigest()}"
            checked += 1
    assert checked == 13

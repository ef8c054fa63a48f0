"""`nwbdyn find`: metadata first, files where wanted, and an account of what was removed."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from lab_files import write_imaging, write_units
from standin import KEY, StandIn
from test_json import checked

from nwbdyn import archive
from nwbdyn.archive.catalogue import Asset, Summary
from nwbdyn.cli import main
from nwbdyn.cli.terminal import WIDTH
from nwbdyn.recording import Source
from nwbdyn.workflows import find, find_conditions
from nwbdyn.workflows.find_conditions import Conditions

MOUSE, RAT = "Mus musculus - House mouse", "Rattus norvegicus - Norway rat"


def run(standin: StandIn, *arguments: object) -> Result:
    words = ["find", *map(str, arguments), "--instance", standin.api]
    return CliRunner().invoke(main, words)


def actual(standin: StandIn, *arguments: object) -> dict:
    return checked(run(standin, *arguments, "--json").stdout, "find")


def removed(document: dict) -> dict[str, int]:
    return {one["condition"]: one["num_files"] for one in document["removed"]}


def stated(species: str | None = None, *variables: str, anatomy: str | None = None) -> dict:
    """Metadata of an asset, in the archive's schema."""
    metadata: dict = {"variableMeasured": [{"value": name} for name in variables]}
    if species:
        metadata["wasAttributedTo"] = [{"identifier": "a", "species": {"name": species}}]
    if anatomy:
        metadata["wasDerivedFrom"] = [{"identifier": "s", "anatomy": [{"name": anatomy}]}]
    return metadata


@contextmanager
def stand_in(folder: Path, scale: int) -> Iterator[StandIn]:
    """Of ten assets: seven of mice with units, a table, and two of rats with ROIs."""
    with StandIn(folder) as standin:
        groups = (
            ("000001", 7, ".nwb", stated(MOUSE, "Units", "ElectrodeGroup")),
            ("000001", 1, ".csv", {}),
            ("000002", 2, ".nwb", stated(RAT, "PlaneSegmentation")),
        )
        for dandiset, number, suffix, metadata in groups:
            for index in range(number * scale):
                path = folder / dandiset / f"sub-{index:03}" / f"sub-{index:03}{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
                standin.metadata[standin.asset_id(path)] = metadata
        standin.dandisets["000002"] = {"name": "Whiskers", "description": "Barrel cortex (S1)."}
        yield standin


@pytest.fixture
def thousand(tmp_path):
    """An archive with 1,000 assets."""
    with stand_in(tmp_path, 100) as standin:
        yield standin


@pytest.fixture
def sixty(tmp_path):
    """An archive with 60 assets."""
    with stand_in(tmp_path, 6) as standin:
        yield standin


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Two real files with the metadata that the archive's own client makes of them."""
    from dandi.metadata.nwb import nwb2asset
    from dandi.misctypes import DUMMY_DANDI_ETAG

    folder = tmp_path_factory.mktemp("lab")
    with StandIn(folder) as standin:
        for dandiset, name, write in (
            ("000011", "sub-m1/sub-m1_ecephys.nwb", write_units),
            ("000012", "sub-m1/sub-m1_ophys.nwb", write_imaging),
        ):
            path = folder / dandiset / name
            path.parent.mkdir(parents=True)
            write(path)
            metadata = nwb2asset(path, digest=DUMMY_DANDI_ETAG).model_dump(mode="json")
            computed = ("path", "digest", "contentSize", "blobDateModified")
            standin.metadata[standin.asset_id(path)] = {
                name: value for name, value in metadata.items() if name not in computed
            }
        yield standin


# --- from metadata ---


def test_a_thousand_assets_take_at_most_five_requests(thousand):
    document = actual(thousand, "--units", "--species", "mouse", "--limit", 500,
                     "--per-dandiset", 500)  # fmt: skip
    assert len(thousand.requested) <= 5
    assert len(document["hits"]) == 500
    assert document["hits"][0]["num_matching"] == 700


def test_every_address_is_one_that_fit_takes(sixty):
    document = actual(sixty, "--rois")
    addresses = [hit["address"] for hit in document["hits"]]
    assert len(set(addresses)) == 3  # of one dandiset
    for address in addresses:
        (source,) = archive.resolve(address, instance=sixty.api)
        assert source.uri == address


def test_a_condition_is_counted_with_the_files_it_removed(thousand):
    result = run(thousand, "--units", "--species", "rat")
    assert result.exit_code == 1
    document = actual(thousand, "--units", "--species", "rat")
    assert document["num_files"] == 1000
    assert removed(document) == {"species": 800, "activity": 200}
    page = result.stdout
    assert page.startswith("Nothing found. Searched 2 of 2 dandisets")
    assert re.search(r"--species +800 ", page)
    assert re.search(r"--units, --rois +200 ", page)
    assert "Leave out a condition." in page


def test_an_empty_dandiset_holds_no_file_that_cannot_be_read(sixty):
    (sixty.folder / "000003").mkdir()
    result = run(sixty, "dandi:000003", "--results")
    assert result.exit_code == 1
    assert result.stdout.endswith("\nThe archive lists no files here.\n")


def test_counts_of_files_that_are_listed_add_up(sixty):
    document = actual(sixty, "dandi:000001", "--region", "VISp")
    assert document["num_files"] == 48
    assert removed(document) == {"no NWB file": 6, "region": 42}
    (region,) = (one for one in document["removed"] if one["condition"] == "region")
    assert region["num_unstated"] == 42
    assert "--inspect looks into the files" in run(sixty, "--region", "VISp").stdout


def test_text_and_region_are_looked_for_in_the_dandiset(sixty):
    assert actual(sixty, "--text", "barrel CORTEX")["num_listed"] == 1
    nothing = run(sixty, "--text", "cerebellum")
    assert nothing.exit_code == 1
    assert "no dandiset with these words" in nothing.stdout
    (name,) = {hit["dandiset_name"] for hit in actual(sixty, "--region", "S1")["hits"]}
    assert name == "Whiskers"


def test_pages_keep_to_80_columns_but_for_addresses(sixty):
    lines = run(sixty, "--units").stdout.splitlines()
    assert all(len(line) <= WIDTH for line in lines if "dandi:" not in line)
    assert sum("dandi:000001@draft/sub-00" in line for line in lines) == 4  # with the command
    quiet = run(sixty, "--units", "-q").stdout.splitlines()
    assert [line.partition("@")[0] for line in quiet] == ["dandi:000001"] * 3


def test_a_search_stops_at_its_limit_and_says_how_far_it_came(sixty):
    document = actual(sixty, "--most-dandisets", "1", "--species", "nobody")
    assert (document["num_dandisets"], document["num_listed"]) == (1, 2)
    page = run(sixty, "--most-dandisets", "1", "--species", "nobody").stdout
    assert "--most-dandisets 2" in page


def test_a_large_dandiset_is_listed_in_part_and_as_a_whole_by_its_address(sixty, monkeypatch):
    sixty.page_size = 10
    monkeypatch.setattr(find, "MOST_LISTED", 20)
    document = actual(sixty, "--species", "nobody")
    assert document["num_skipped"] == 48 - 20
    assert removed(document) == {"species": 20 + 12}
    document = actual(sixty, "dandi:000001", "--species", "nobody")
    assert document["num_skipped"] == 0
    assert removed(document) == {"no NWB file": 6, "species": 42}


def test_embargoed_dandisets_are_not_listed(sixty, monkeypatch):
    sixty.embargoed.add("000002")
    assert actual(sixty, "--species", "rat")["num_listed"] == 1
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    assert len(actual(sixty, "dandi:000002", "--species", "rat", "--limit", 1)["hits"]) == 1


def test_results_are_found_again_and_are_no_recordings(tmp_path):
    path = tmp_path / "000001" / "sub-a" / "sub-a_desc-netformer.nwb"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    with StandIn(tmp_path) as standin:
        standin.metadata[standin.asset_id(path)] = stated(MOUSE, "Units") | {
            "wasGeneratedBy": [{"schemaKey": "Activity", "name": "nwbdyn fit"}]
        }
        assert actual(standin, "--units")["hits"] == []
        (hit,) = actual(standin, "--results")["hits"]
        assert hit["next"].startswith(f"nwbdyn fetch {hit['address']}")
        assert run(standin, "--results", "--inspect").exit_code == 2


# --- from files ---


def test_the_archives_own_metadata_states_units_and_rois(lab):
    (units,) = actual(lab, "--units", "--species", "Mus musculus")["hits"]
    assert units["dandiset"] == "000011"
    (rois,) = actual(lab, "--rois")["hits"]
    assert rois["dandiset"] == "000012"
    assert rois["contents"] is None


def test_inspect_opens_files_and_counts_what_they_hold(lab):
    (hit,) = actual(lab, "--rois", "--inspect", "--min-neurons", 5, "--cell-types")["hits"]
    assert hit["contents"]["num_neurons"] == 5
    assert hit["contents"]["cell_types"] == {"Pvalb": 2, "Sst": 2, "": 1}
    assert "5 ROIs" in run(lab, "--rois", "--inspect").stdout
    document = actual(lab, "--inspect", "--min-neurons", 6)
    assert document["hits"] == []
    assert removed(document) == {"min_neurons": 2}
    assert removed(actual(lab, "--inspect", "--cell-types")) == {"cell_types": 1}
    assert removed(actual(lab, "--inspect", "--trials")) == {"trials": 2}


def test_a_region_that_no_metadata_states_is_read_from_the_file(lab):
    assert removed(actual(lab, "--region", "VISp")) == {"region": 2}
    document = actual(lab, "--region", "VISp", "--inspect")
    assert [hit["dandiset"] for hit in document["hits"]] == ["000012"]


def test_a_file_that_cannot_be_read_is_listed_with_the_reason(sixty):
    document = actual(sixty, "dandi:000002", "--inspect", "--limit", 1)
    assert document["hits"] == []
    assert len(document["unread"]) == 12
    assert "HDF5" in document["unread"][0]["reason"]
    result = run(sixty, "--species", "rat", "--inspect")  # of each dandiset the first files
    assert "2 files of large dandisets were left out" in result.stdout
    assert "The first that could not be read: sub-000.nwb" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("--units",), "--per-dandiset N lists more of each dandiset."),
        (("dandi:000001", "--units"), "--limit N lists more."),
        (("dandi:000001", "--units", "--limit", 42), ""),
    ],
)
def test_the_list_says_how_to_see_the_files_that_it_leaves_out(sixty, arguments, advice):
    page = " ".join(run(sixty, *arguments).stdout.split())
    assert advice in page
    assert ("lists more" in page) is bool(advice)


# --- wrong command lines ---


def test_what_only_files_tell_needs_inspect(sixty):
    result = run(sixty, "--min-neurons", 5, "--trials")
    assert result.exit_code == 2
    assert "--min-neurons and --trials. Pass --inspect" in result.stderr
    assert sixty.requested == []


def test_a_local_file_is_refused_before_the_archive_is_contacted(sixty):
    result = run(sixty, "recording.nwb")
    assert result.exit_code == 2
    assert "'recording.nwb' names no dandiset to search" in result.stderr
    assert sixty.requested == []


def test_an_address_that_names_no_dandiset_is_refused(sixty):
    result = run(sixty, "dandi:000001/sub-000")
    assert result.exit_code == 2
    assert "Pass dandi:ID" in result.stderr
    assert run(sixty, "dandi:000009").exit_code == 1
    assert run(sixty, "dandi:000001", "--text", "x").exit_code == 2


# --- single answers ---


@pytest.mark.parametrize(
    ("text", "wanted", "answer"),
    [
        ("VISp2/3", "visp", True),  # a layer
        ("VISpm", "VISp", False),  # another area
        ("Primary visual area (VISp)", "VISp", True),
        ("CA1", "CA", True),
        ("Mus musculus - House mouse", "mouse", True),
        ("Mus musculus - House mouse", "mus", True),
        ("Mus musculus", "musc", False),
        ("Caenorhabditis elegans - Roundworm", "C. elegans", True),
        ("Caenorhabditis elegans", "c.elegans", True),
        ("C. elegans", "C. elegans", True),
        ("Canis elegans minor", "D. elegans", False),
        ("Caenorhabditis briggsae", "C. elegans", False),
    ],
)
def test_names_are_whole_words(text, wanted, answer):
    assert find_conditions.names(text, wanted) is answer


@pytest.mark.parametrize(
    ("anatomy", "description", "answer"),
    [
        (("CA1",), "", True),
        (("CA3",), "of CA1", False),  # the asset wins over its dandiset
        ((), "of CA1", True),
        ((), "of CA3", None),  # says nothing about this file
    ],
)
def test_a_region_is_judged_by_the_asset_then_by_its_dandiset(anatomy, description, answer):
    asset = Asset(Source("", ""), frozenset(), frozenset(), anatomy, None, False)
    summary = Summary(frozenset(), frozenset(), (), (description,))
    answers = find_conditions.of_asset(Conditions(region="CA1"), asset, summary)
    assert answers["region"] is answer


@pytest.mark.parametrize(
    ("metadata", "file", "answer"),
    [(None, "Mus musculus", True), (None, "Rattus", False), (True, "", True), (None, "", None)],
)
def test_a_species_of_a_file_is_known_by_its_common_name(metadata, file, answer):
    contents = {
        "neurons": {},
        "activity": {},
        "trials": None,
        "subject": {"species": file} if file else {},
    }
    answers = find_conditions.of_file(Conditions(species="mouse"), contents, {"species": metadata})
    assert answers["species"] is answer


def test_the_stand_in_lists_as_the_archive_does(sixty, tmp_path):
    """Parameters and paging of /dandisets/, as the archive's API has them."""
    import requests

    def listed(**parameters: str) -> list[str]:
        answer = requests.get(f"{sixty.api}/dandisets/", params=parameters, timeout=10)
        return [row["identifier"] for row in answer.json()["results"]]

    (tmp_path / "000003").mkdir()
    assert listed() == ["000001", "000002", "000003"]
    assert listed(empty="false", ordering="-id") == ["000002", "000001"]
    assert listed(draft="false") == []
    assert listed(search="whiskers S1") == ["000002"]
    assert listed(page="2", page_size="2") == ["000003"]
    answer = requests.get(f"{sixty.api}/dandisets/?embargoed=true", timeout=10)
    assert answer.status_code == 401
    assert json.loads(answer.text)["detail"].startswith("Authentication")

import shutil

import pandas as pd
import pytest
from synthetic_runs import COUNTS, make_record, write_run

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import shipped_folder
from ltgen_bench.evaluation.protocol import Protocol
from ltgen_bench.evaluation.scores import COLUMNS, Scores, csv_text
from ltgen_bench.records.results_csv import measured_csv, read_measured, runs_path, shipped_protocols
from ltgen_bench.records.run_folder import RunFolder
from ltgen_bench.records.store import ROW_COLUMNS, find_run, find_runs, protocols, reported_runs, rows


@pytest.fixture
def runs_dir(tmp_path):
    folder = tmp_path / "runs"
    write_run(folder, "cbdm", 0)
    write_run(folder, "ddpm", 0)
    write_run(folder, "ddpm", 1)
    return folder


def test_no_folder_holds_no_runs(tmp_path):
    assert find_runs(tmp_path / "runs") == []


def test_every_set_of_scores_is_found_once_though_the_record_is_copied_to_the_run_folder(runs_dir):
    folder, record = write_run(runs_dir, "cbdm", 0, variant="b", finished="2026-02-01T00:00:00+00:00")
    record.save(folder)
    found = find_runs(runs_dir)
    assert [run.state for run in found] == ["finished"] * 4
    assert len({run.files.folder for run in found}) == 4
    assert {run.record.method for run in found} == {"cbdm", "ddpm"}


def touch(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_unfinished_runs_tell_their_state_and_how_far_they_came(tmp_path):
    base = tmp_path / "digits-lt"
    touch(base / "a-1-s0" / "train" / "log.jsonl")
    touch(base / "b-1-s0" / "train" / "checkpoint-512.safetensors")
    touch(base / "b-1-s0" / "train" / "checkpoint-2048.safetensors")
    touch(base / "c-1-s0" / "train" / "checkpoint-100.safetensors")
    touch(base / "c-1-s0" / "config.toml", "[train]\nbudget_images = 100\n")
    touch(base / "d-1-s0" / "train" / "checkpoint-100.safetensors")
    touch(base / "d-1-s0" / "samples" / "12345678" / "shard-0.npz")
    touch(base / "e-1-s0" / "train" / "checkpoint-100.safetensors")
    touch(base / "e-1-s0" / "samples" / "12345678" / "samples.npz")
    touch(base / "no run" / "notes.txt")
    found = {run.folder.name[0]: (run.state, run.folder.images_seen) for run in find_runs(tmp_path)}
    assert found == {
        "a": ("training", None),
        "b": ("training", 2048),
        "c": ("trained", 100),
        "d": ("sampling", 100),
        "e": ("sampled", 100),
    }
    (run, *_) = find_runs(tmp_path)
    with pytest.raises(UserError, match=r"has no scores yet \(training\)"):
        run.scores  # noqa: B018  (reading it is what raises)


def test_a_broken_record_is_named_and_the_others_are_found(runs_dir):
    record = next(runs_dir.glob("*/*/scores/*/record.json"))
    record.write_text("{}")
    found = find_runs(runs_dir)
    (broken,) = [run for run in found if run.state == "damaged"]
    assert str(record) in broken.problem
    assert len([run for run in found if run.record is not None]) == 2
    runs, left_out = reported_runs(runs_dir)
    assert len(runs) == 2
    assert left_out == [broken.problem]


def test_scores_of_older_records_that_cannot_be_are_left_out_of_reports(runs_dir):
    path = next(runs_dir.glob("*/*/scores/*/scores.csv"))
    table = Scores.load(path).table
    table.loc[table["metric"].eq("fid") & table["scope"].eq("all"), "value"] = -4.0
    path.write_text(table.to_csv(index=False))
    runs, (sentence,) = reported_runs(runs_dir)
    assert len(runs) == 2
    assert "fid -4 (classifier, all)" in sentence


def test_a_broken_recipe_of_an_unfinished_run_is_named(tmp_path):
    touch(tmp_path / "digits-lt" / "a-1-s0" / "train" / "checkpoint-100.safetensors")
    touch(tmp_path / "digits-lt" / "a-1-s0" / "config.toml", "[train")
    (run,) = find_runs(tmp_path)
    assert run.state == "damaged"
    assert "config.toml" in run.problem


def test_missing_scores_say_which_command_makes_them_again(runs_dir):
    run = find_runs(runs_dir)[0]
    run.files.table.unlink()
    with pytest.raises(UserError, match="ltgen-bench run --method cbdm"):
        run.scores  # noqa: B018  (reading it is what raises)


def test_a_run_is_found_by_name_beginning_data_set_and_path(runs_dir):
    folder = next(runs_dir.glob("digits-lt/cbdm-*"))
    for name in (folder.name, "cb", f"digits-lt/{folder.name}", str(folder)):
        assert find_run(runs_dir, name).folder.path == folder


def test_of_several_scores_the_newest_is_shown(runs_dir):
    write_run(runs_dir, "cbdm", 0, variant="b", finished="2027-01-01T00:00:00+00:00")
    assert find_run(runs_dir, "cbdm").record.finished.startswith("2027")


def test_an_unclear_or_unknown_name_is_refused_with_what_there_is(runs_dir, tmp_path):
    with pytest.raises(UserError, match=r"2 runs: digits-lt/ddpm-.*-s0, digits-lt/ddpm-.*-s1"):
        find_run(runs_dir, "ddpm")
    name = next(runs_dir.glob("digits-lt/cbdm-*")).name
    with pytest.raises(UserError, match=f"there is no run 'x{name}'.*Did you mean '{name}'"):
        find_run(runs_dir, f"x{name}")
    with pytest.raises(UserError, match=r"runs under .*ltgen-bench run"):
        find_run(tmp_path / "elsewhere", "cbdm")


@pytest.mark.parametrize("name", ["", " ", "d", "digits-lt", "digits-lt/", "digits", "/", "."])
def test_only_the_beginning_of_a_runs_own_name_finds_it(tmp_path, name):
    folder, _ = write_run(tmp_path, "cbdm", 0)
    with pytest.raises(UserError, match=r"empty|there is no run"):
        find_run(tmp_path, name)
    assert find_run(tmp_path, "c").folder == find_run(tmp_path, "digits-lt/c").folder == RunFolder(folder)


def test_what_is_removed_is_named_by_its_whole_method_at_least(tmp_path):
    write_run(tmp_path, "ddpm", 0)
    for name in ("d", "ddp", "digits-lt/ddp"):
        with pytest.raises(UserError, match="there is no run"):
            find_run(tmp_path, name, method_named=True)
    assert find_run(tmp_path, "ddpm", method_named=True).folder == find_run(tmp_path, "digits-lt/ddpm-", method_named=True).folder


def test_nobody_writes_into_a_run_while_it_is_deleted(runs_dir, monkeypatch):
    run, busy = find_run(runs_dir, "cbdm"), []
    rmtree = shutil.rmtree

    def deleting(folder, **more):
        if folder.exists():
            busy.append(not run.folder.path.exists())
            assert all(found.folder != run.folder and "removed" not in found.folder.name for found in find_runs(runs_dir))
        rmtree(folder, **more)

    monkeypatch.setattr("ltgen_bench.records.run_folder.shutil.rmtree", deleting)
    run.folder.remove()
    assert busy == [True]
    assert not [path for path in run.folder.path.parent.iterdir() if "cbdm" in path.name]


def test_a_removed_run_is_gone_and_a_busy_one_stays(runs_dir):
    run = find_run(runs_dir, "cbdm")
    with run.folder.lock(), pytest.raises(UserError, match="is being written"):
        run.folder.remove()
    assert run.folder.path.is_dir()
    run.folder.remove()
    assert not run.folder.path.exists()
    assert len(find_runs(runs_dir)) == 2


def test_rows_hold_score_entry_and_origin(runs_dir):
    runs = find_runs(runs_dir)
    table = rows(runs, runs_dir)
    assert list(table.columns) == ROW_COLUMNS
    assert len(table) == sum(len(run.scores.table) for run in runs)
    assert set(ROW_COLUMNS) >= set(COLUMNS)  # `label` is there twice in meaning: the class is `class_label`
    first = table[(table["method"] == "ddpm") & (table["seed"] == 1)].iloc[0]
    assert (first["label"], first["sampler"], first["steps"], first["omega"]) == ("ddpm", "dpm-solver++", 20, 1.0)
    assert first["run"].startswith("digits-lt/ddpm-")
    assert first["versions"] == "ltgen-bench 0.1.0, torch 2.14.0"
    classes = table[(table["scope"] == "class") & (table["metric"] == "recall") & (table["run"] == first["run"])]
    assert classes["class_count"].tolist() == COUNTS
    assert table.loc[table["scope"] == "all", "class_count"].isna().all()


def test_rows_of_nothing_have_the_same_columns():
    assert list(rows([]).columns) == ROW_COLUMNS
    assert rows([]).empty


def test_the_measured_csv_reads_back_exactly(runs_dir, tmp_path):
    runs = find_runs(runs_dir)
    table = rows(runs, runs_dir)
    path = measured_csv(table, tmp_path / "results" / "digits-lt.csv", {**protocols(runs), "unused00": {}})
    pd.testing.assert_frame_equal(read_measured(path), table, check_exact=True, check_dtype=False)
    assert read_measured(path)["value"].tolist()[:50] == table["value"].tolist()[:50]
    beside = path.with_suffix(".protocols.json").read_text()
    assert "unused00" not in beside
    assert all(one in beside for one in set(table["protocol"]))


def test_what_rows_of_a_run_share_stands_in_the_table_of_runs_alone(runs_dir, tmp_path):
    table = rows(find_runs(runs_dir), runs_dir)
    path = measured_csv(table, tmp_path / "new.csv")
    runs = pd.read_csv(runs_path(path), dtype="str", keep_default_na=False)
    assert len(runs) == table["run"].nunique()
    assert set(runs["command"]) == set(table["command"])
    assert not {"command", "versions", "hardware", "method"} & set(pd.read_csv(path).columns)
    assert path.stat().st_size < 0.4 * len(csv_text(table))


def test_a_table_in_which_every_row_repeats_its_run_is_still_read(runs_dir, tmp_path):
    table = rows(find_runs(runs_dir), runs_dir)
    (tmp_path / "old.csv").write_text(csv_text(table))
    pd.testing.assert_frame_equal(read_measured(tmp_path / "old.csv"), table, check_exact=True, check_dtype=False)


def test_rows_without_their_runs_are_refused(runs_dir, tmp_path):
    path = measured_csv(rows(find_runs(runs_dir), runs_dir), tmp_path / "new.csv")
    beside = runs_path(path)
    lines = beside.read_text().splitlines(keepends=True)
    for text, message in (("".join(lines[:-1]), "no row for the run"), ("".join([*lines, lines[-1]]), "one row for each pair"),
                          ("a,b\n1,2\n", "is not the table of runs")):
        beside.write_text(text)
        with pytest.raises(UserError, match=message):
            read_measured(path)
    beside.unlink()
    with pytest.raises(UserError, match=r"table new\.runs\.csv is missing"):
        read_measured(path)


def test_rows_name_the_preset_and_where_it_was_departed_from(tmp_path):
    write_run(tmp_path, "cbdm", 0, preset="cbdm-paper", departures=["1,000 images where it asks for 50,000", "k 3"])
    write_run(tmp_path, "ddpm", 0)
    table = rows(find_runs(tmp_path), tmp_path)
    told = table.drop_duplicates("method").set_index("method")[["preset", "departures"]]
    assert told.loc["cbdm"].tolist() == ["cbdm-paper", "1,000 images where it asks for 50,000; k 3"]
    assert told.loc["ddpm"].tolist() == ["", ""]
    back = read_measured(measured_csv(table, tmp_path / "x.csv"))
    assert back[["preset", "departures"]].equals(table[["preset", "departures"]].astype(back["preset"].dtype))


def test_a_csv_from_before_there_were_presets_is_read_and_has_none(runs_dir, tmp_path):
    table = rows(find_runs(runs_dir), runs_dir)
    (tmp_path / "old.csv").write_text(csv_text(table.drop(columns=["preset", "departures"])))
    back = read_measured(tmp_path / "old.csv")
    assert list(back.columns) == ROW_COLUMNS
    assert set(back["preset"]) == set(back["departures"]) == {""}
    shipped = read_measured(shipped_folder("results") / "digits-lt.csv")
    assert list(shipped.columns) == ROW_COLUMNS


def test_the_shipped_protocols_tell_every_id_of_the_shipped_rows():
    described = {one: text for own in shipped_protocols().values() for one, text in own.items()}
    shipped = read_measured(shipped_folder("results") / "digits-lt.csv")
    assert set(shipped["protocol"]) <= set(described)
    assert all(Protocol.model_validate(text).id == one for one, text in described.items())


def test_a_class_called_nan_stays_a_class(tmp_path):
    write_run(tmp_path, "cbdm", 0, names=["nan", "null", "", *"3456789"])
    table = rows(find_runs(tmp_path), tmp_path)
    back = read_measured(measured_csv(table, tmp_path / "x.csv"))
    assert back["class_name"].tolist() == table["class_name"].tolist()
    assert {"nan", "null"} <= set(back["class_name"])


def test_a_foreign_csv_is_no_measured_table(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="column 'metric'"):
        read_measured(tmp_path / "x.csv")
    with pytest.raises(UserError, match="could not be read"):
        read_measured(tmp_path / "y.csv")


def test_protocols_of_all_runs_are_gathered(runs_dir):
    assert protocols(find_runs(runs_dir)) == make_record().protocols

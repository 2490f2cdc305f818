#!/usr/bin/env python3
"""Trains the demo model from nothing: speaks its data, trains, calibrates clamps, writes a Gemma 4
checkpoint.

    python scripts/train_demo_model.py --out build/demo-model

Needs the ``train`` extra (torch, transformers) and speech synthesisers; on Debian or Ubuntu::

    apt-get install espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k \\
        festvox-us-slt-hts
    npm pack kokoro-js

Human digits come from ``--speech-dir`` (a folder with ``digits/{digit}_{speaker}_{take}.wav``). A run that
was cut off goes on from its last checkpoint with ``--resume``. ``--hold-out SPEAKER`` leaves one human
speaker out of training, to measure how the recipe does on someone it has never heard.
``--start-from TEXT.gguf MMPROJ.gguf --start-step N`` trains an exported model further, as if at step N.
``--american FILE`` adds the voices of `demo_model/american.py`; FILE is what ``npm pack`` brought.

What is written to ``--out``: ``config.json``, ``model.safetensors`` (float32), ``tokenizer.json``,
``tokenizer_config.json``, ``chat_template.jinja``, ``generation_config.json``: what
`scripts/export_gguf.py` reads.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished checkpoint")
    parser.add_argument(
        "--work", type=Path, help="folder of the resumable state (default: OUT with '-training' added)"
    )
    parser.add_argument(
        "--cache", type=Path, help="folder of synthetic speech (default: 'speech' beside OUT)"
    )
    parser.add_argument(
        "--speech-dir", type=Path, default=ROOT.parent / "shared" / "speech", help="human recordings"
    )
    parser.add_argument(
        "--american", type=Path, metavar="FILE", help="kokoro-js's package: train on American voices too"
    )
    parser.add_argument("--hold-out", metavar="SPEAKER", help="train without this speaker")
    parser.add_argument(
        "--start-from", type=Path, nargs=2, metavar="GGUF", help="train this pair of files further"
    )
    parser.add_argument("--start-step", type=int, default=0, help="how far that pair is trained")
    parser.add_argument(
        "--settle", type=int, default=150, help="steps that leave that pair's encoder as it is"
    )
    parser.add_argument("--peak-rate", type=float, default=1.2e-3, help="highest learning rate")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--lines", type=int, default=9000, help="synthetic utterances to train on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint, if there is one"
    )
    parser.add_argument(
        "--finish", action="store_true", help="do not train: only calibrate and write what there is"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    os.environ.setdefault("OMP_NUM_THREADS", str(arguments.threads))  # before torch starts its threads
    import torch

    from demo_model import american
    from demo_model.augment import Strength
    from demo_model.batches import PromptEncoder
    from demo_model.clips import SPEAKERS, TRAIN_TAKES, VALIDATION_TAKES, ClipSource, load_takes
    from demo_model.finish import finish
    from demo_model.grammar import WORDS
    from demo_model.model import DemoModel, make_config, use_fast_norms
    from demo_model.training import Plan, Trainer
    from demo_model.validate import ValidationSet
    from demo_model.vocabulary import write_tokenizer
    from demo_model.voices import SpeechCache, synthesise
    from demo_model.warm_start import read_pair

    if arguments.hold_out not in (None, *SPEAKERS):
        raise SystemExit(f"unknown speaker {arguments.hold_out!r}; there are {', '.join(SPEAKERS)}")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    use_fast_norms()
    work = arguments.work or arguments.out.with_name(arguments.out.name + "-training")
    cache = arguments.cache or arguments.out.with_name("speech")
    work.mkdir(parents=True, exist_ok=True)

    tokenizer = write_tokenizer(work / "tokenizer")
    synthetic = synthesise(cache / "train", arguments.lines, seed=7, held_out=False)
    if arguments.american:
        american.synthesise(cache / "american", arguments.american)
        synthetic = SpeechCache(cache / "train", cache / "american")
    unheard = synthesise(cache / "validation", 150, seed=5, held_out=True)
    speakers = tuple(name for name in SPEAKERS if name != arguments.hold_out)
    humans = load_takes(arguments.speech_dir, speakers, TRAIN_TAKES)
    if arguments.hold_out:
        # With a voice less, all varies more, and synthetic voices say more of the digits.
        strength = Strength(speed=0.14, tract=0.16, noisy=0.4, filtered=0.5, hidden=0.45)
        source = ClipSource(humans, synthetic, strength, arguments.seed, human_share=0.5)
    else:
        source = ClipSource(humans, synthetic, Strength(), arguments.seed)
    left_out = (arguments.hold_out,) if arguments.hold_out else ()
    validation = ValidationSet.build(
        load_takes(arguments.speech_dir, speakers, VALIDATION_TAKES),
        load_takes(arguments.speech_dir, left_out, VALIDATION_TAKES),
        unheard,
    )

    encoder = PromptEncoder(tokenizer)
    plan = Plan(
        steps=arguments.steps, seed=arguments.seed, settle=arguments.settle, peak_rate=arguments.peak_rate
    )
    trainer = Trainer(DemoModel(make_config(tokenizer), len(WORDS)), encoder, source, plan, work)
    if (arguments.resume or arguments.finish) and trainer.checkpoint.exists():
        trainer.load()
    elif arguments.start_from:
        read_pair(trainer.model, *arguments.start_from)
        trainer.start_at(arguments.start_step)
    parameters = sum(p.numel() for p in trainer.model.gemma.parameters())
    print(f"{parameters / 1e6:.2f} M parameters, from step {trainer.step} to {plan.steps}", flush=True)
    if not arguments.finish:
        trainer.run(validation)
    finish(trainer.average, encoder, source, plan.mix(plan.steps), validation, arguments.out)


if __name__ == "__main__":
    main()

"""`gemma-audio cache`: what was heard and is kept for the next question."""

from __future__ import annotations

import typer

from gemma_audio_cli.cli.messages import exit_codes, put, put_json

EXAMPLES = """Examples:

\b
  gemma-audio cache show
  gemma-audio cache clear

`ask` keeps what the model's audio encoder made of long recordings, so that another question about
the same sound need not hear it again. It keeps no sound, no text and no names. It is in a folder
of this person only, of at most cache_mb megabytes (a setting); what was not used for longest goes
first. --no-cache, or the setting cache, keeps nothing.
"""

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    epilog=EXAMPLES,
    help="Show or clear what was heard and is kept.",
)


@app.command("show")
def show(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """Print where it lies, how much it is and how much it may be."""
    with exit_codes():
        from gemma_audio_cli import config
        from gemma_audio_cli.formatting import byte_size, counted, hms
        from gemma_audio_cli.pipeline import sound_cache

        place = sound_cache.folder()
        found = sound_cache.entries(place)
        size, limit = sum(entry.bytes for entry in found), config.load().cache_mb * 1_000_000
        seconds = sound_cache.seconds_kept(place)
        if as_json:
            put_json(
                {
                    "folder": str(place),
                    "windows": len(found),
                    "seconds": round(seconds, 2),
                    "bytes": size,
                    "limit": limit,
                }
            )
            return
        put(
            f"folder  {place}",
            f"sound   {hms(seconds)} in {counted(len(found), 'window')}",
            f"size    {byte_size(size)} of at most {byte_size(limit)}",
        )


@app.command("clear")
def clear() -> None:
    """Remove all of it."""
    with exit_codes():
        from gemma_audio_cli.formatting import byte_size
        from gemma_audio_cli.pipeline import sound_cache

        put(f"{byte_size(sound_cache.clear(sound_cache.folder()))} freed")

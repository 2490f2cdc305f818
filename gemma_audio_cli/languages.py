"""Languages by ISO code and by name."""

from __future__ import annotations

from gemma_audio_cli.errors import UsageError

LANGUAGES = {
    "ar": "Arabic", "bn": "Bengali", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian",
    "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "lt": "Lithuanian", "lv": "Latvian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sv": "Swedish", "ta": "Tamil", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def language_name(language: str) -> str:
    """A language as the prompts name it: "de" and "German" are both "German"; others stay as they are.

    Raises UsageError where it cannot be a language.
    """
    cleaned = " ".join(language.split())
    if not cleaned.isprintable() or not any(map(str.isalpha, cleaned)) or len(cleaned) > 60:
        raise UsageError(f"{language!r} is no language; give a name (German) or an ISO code (de)")
    return LANGUAGES.get(cleaned.lower(), cleaned[:1].upper() + cleaned[1:])

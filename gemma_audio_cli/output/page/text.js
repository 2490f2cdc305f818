// The transcript as paragraphs of words, each of which knows when it was said.
//
//   #transcript ─► parts (paragraphs) and timed (words) ─► #text
//
// The files of this folder are put together as one module, in the order that document.py names.
// Text comes from strangers: it gets into the document as textContent only.

const $ = (id) => document.getElementById(id);
const read = (id) => JSON.parse($(id).textContent);
const transcript = read("transcript");
const about = read("about");
const sound = $("sound");
const LOOK_BACK = 12; // words that may overlap, where several people speak
const NEAR = 0.005; // seconds by which a player may miss the time it was told to seek

const made = (name, className, text) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const clock = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  const rest = `${String(Math.floor(whole / 60) % 60)}:${String(whole % 60).padStart(2, "0")}`;
  return whole < 3600 ? rest : `${Math.floor(whole / 3600)}:${rest.padStart(5, "0")}`;
};
const voiceClass = (voice) => (voice === null ? "" : `s${voice % 8}`);
// The last entry that began by `time`, or -1; entries are in order of their start.
const lastBegun = (entries, time) => {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries[middle].start <= time + NEAR) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};

const FLAGS = {
  unreliable: ["unreliable", "No try at this stretch went well; this is the best of them.", true],
  repetition: ["loop", "The model ran into a loop, which was cut off.", true],
  truncated: ["cut off", "The text was too long and was cut off.", true],
  unlikely: ["unlikely", "The model itself gives its words a low probability.", true],
  thinking: ["thinking", "The model went on thinking and never came to an answer.", true],
  context_echo: ["echo", "Nothing but terms of the context, which may not have been said.", true],
  overlap: ["overlap", "Somebody else speaks at the same time.", false],
  split: ["split", "This stretch was heard in two halves.", false],
  no_speech: ["no speech", "Nothing was heard here.", false],
};

// A text as pieces, each with the white space before it: words with times as far as they go, then without.
const piecesOf = (text, words) => {
  const pieces = [];
  let at = 0;
  for (const word of words) {
    const start = at + text.slice(at).search(/\S|$/);
    if (!word.word || !text.startsWith(word.word, start)) break;
    pieces.push({ text: text.slice(at, start + word.word.length), word });
    at = start + word.word.length;
  }
  for (const rest of text.slice(at).match(/\s*\S+/g) || []) pieces.push({ text: rest, word: null });
  return pieces;
};

const parts = []; // {start, end, element, folded, ends, pieces}
const timed = []; // {start, end, element, unsure, probability}
const spans = new Map(); // a word's element: its time
let unsureCount = 0;

const addPieces = (part, paragraph, pieces) => {
  for (const piece of pieces) {
    const text = piece.text.trimStart();
    if (text.length < piece.text.length) paragraph.append(piece.text.slice(0, piece.text.length - text.length));
    const element = made("span", "w", text);
    const time = piece.word ? piece.word.start : part.start;
    spans.set(element, time);
    if (piece.word) {
      const { start, end, probability } = piece.word;
      const unsure = probability < about.below;
      element.dataset.start = start;
      if (unsure) {
        element.classList.add("unsure");
        element.title = `probability ${probability.toFixed(2)}`;
        unsureCount += 1;
      }
      timed.push({ start, end, element, unsure, probability });
    }
    paragraph.append(element);
    part.pieces.push({ text: piece.text, element });
  }
};

const addPart = (segment, index, before) => {
  const voice = about.by[index];
  const element = made("article", `part ${voiceClass(voice)}`);
  const part = { start: segment.start, end: segment.end, voice, element, pieces: [], segment };
  if (index === 0 || voice !== before) {
    element.classList.add("turn");
    if (voice !== null) {
      const who = made("h2", "who", about.voices[voice]);
      who.dir = "auto";
      element.append(who);
    }
  }
  const at = made("button", "at", clock(segment.start));
  at.type = "button";
  at.title = "Play from here";
  spans.set(at, segment.start);
  const said = made("p", "said");
  said.dir = "auto";
  addPieces(part, said, piecesOf(segment.text, segment.words || []));
  element.append(at, said);
  if (segment.translation) {
    const translation = made("p", "translation");
    translation.dir = "auto";
    addPieces(part, translation, piecesOf(`\n${segment.translation}`, []));
    element.append(translation);
    translation.firstChild?.remove(); // the line end before it is for searching
  }
  if (segment.flags.length) {
    const notes = made("p", "notes");
    for (const flag of segment.flags) {
      const [label, title, wrong] = FLAGS[flag] || [flag, "", false];
      const note = made("span", wrong ? "wrong" : "", label);
      note.title = title;
      notes.append(note);
    }
    element.append(notes);
  }
  parts.push(part);
  return element;
};

const shown = document.createDocumentFragment();
transcript.segments.forEach((segment, index) => shown.append(addPart(segment, index, about.by[index - 1])));
if (!parts.length) shown.append(made("p", "nobody", "Nobody speaks in this recording."));
$("text").append(shown);
timed.sort((a, b) => a.start - b.start);

const total = Math.max(transcript.duration || 0, ...parts.map((part) => part.end), 0.001);
const facts = [clock(total)];
if (transcript.language) facts.push(transcript.language);
if (about.voices.length) facts.push(about.voices.length === 1 ? "1 voice" : `${about.voices.length} voices`);
if (timed.length) facts.push(timed.length === 1 ? "1 word" : `${timed.length.toLocaleString("en")} words`);
if (transcript.model) facts.push(transcript.model);
if (about.estimated) facts.push("times of some words are estimated");
$("facts").textContent = facts.join(" · ");
$("total").textContent = clock(total);
const tell = (id, text) => {
  $(id).textContent = text;
  $(id).hidden = false;
};
if (transcript.error) tell("trouble", `This transcript is not whole: ${transcript.error}`);

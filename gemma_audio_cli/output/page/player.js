// The clock: the recording's, or where there is none, that of the last click. It lights words and parts.
//
//   audio clock ─► binary search ─► the word and the part of this moment

let cursor = 0;
let playable = about.sound !== null;
const time = () => (playable ? sound.currentTime : cursor);
let lit = [];
let current = null;

const setFollow = (on) => ($("follow").checked = on);
const panelBottom = () => Math.max(0, $("player").getBoundingClientRect().bottom);
const bring = (element, always) => {
  const box = element.getBoundingClientRect();
  const top = panelBottom();
  const low = innerHeight - (innerHeight - top) / 4;
  if (!always && box.top > top + 8 && box.bottom < low) return;
  const by = box.top - top - (innerHeight - top) / 3;
  const calm = Math.abs(by) > 2 * innerHeight || matchMedia("(prefers-reduced-motion: reduce)").matches;
  scrollBy({ top: by, behavior: calm ? "instant" : "smooth" });
};

const light = (now, follow) => {
  const last = lastBegun(timed, now);
  const next = [];
  for (let i = last; i >= 0 && i > last - LOOK_BACK; i--) {
    if (now < Math.max(timed[i].end, timed[i].start + 2 * NEAR)) next.push(timed[i].element);
  }
  if (next.length !== lit.length || next.some((element, i) => element !== lit[i])) {
    lit.forEach((element) => element.classList.remove("now"));
    next.forEach((element) => element.classList.add("now"));
    lit = next;
    if (follow && lit.length) bring(lit[0], false);
  }
  const part = parts[lastBegun(parts, now)] || null;
  if (part !== current) {
    if (current) current.element.classList.remove("now");
    if (part) part.element.classList.add("now");
    current = part;
    if (follow && part && !lit.length) bring(part.element, false);
  }
};

let second = -1;
const show = (follow) => {
  const now = time();
  $("timeline").style.setProperty("--x", `${Math.min(100, (100 * now) / total)}%`);
  if (Math.floor(now) !== second) {
    second = Math.floor(now);
    $("now").textContent = clock(now);
    $("wave").setAttribute("aria-valuenow", second);
    $("wave").setAttribute("aria-valuetext", `${clock(now)} of ${clock(total)}`);
  }
  light(now, follow);
};
const tick = () => {
  show($("follow").checked);
  if (!sound.paused && !sound.ended) requestAnimationFrame(tick);
};
const mute = (text) => {
  cursor = sound.currentTime || cursor;
  playable = false;
  $("play").disabled = true;
  $("speed").disabled = true;
  tell("silent", text);
};
const seek = (to, { play = false, follow = false } = {}) => {
  cursor = Math.min(Math.max(0, to), total);
  if (playable) {
    sound.currentTime = cursor;
    if (play) start();
  }
  show(false);
  if (follow && (lit.length || current)) bring(lit[0] || current.element, false);
};
const start = () => {
  if (playable) sound.play().catch((error) => error.name === "AbortError" || tell("silent", `It does not play: ${error.message}`));
};
const toggle = () => (sound.paused ? start() : sound.pause());

for (const kind of ["play", "pause", "ended"]) {
  sound.addEventListener(kind, () => {
    $("play").classList.toggle("on", !sound.paused);
    $("play").setAttribute("aria-label", sound.paused ? "Play" : "Pause");
    tick();
  });
}
sound.addEventListener("seeked", () => show(false));
sound.addEventListener("error", () =>
  mute(`${about.sound.name} does not play: it is not where it was when this page was made, or this browser cannot play its kind.`),
);
if (playable) sound.src = about.sound.src;
else mute("This page has no sound, because the recording was no file. A click on a word shows its time.");

$("text").addEventListener("click", (event) => {
  const element = event.target.closest(".w, .at");
  if (!element || !getSelection().isCollapsed) return; // marked text is to be copied
  seek(spans.get(element), { play: true });
});
$("play").addEventListener("click", toggle);
$("speed").addEventListener("change", () => (sound.playbackRate = Number($("speed").value)));

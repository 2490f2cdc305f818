// Buttons, switches and keys.

const dark = matchMedia("(prefers-color-scheme: dark)");
const setTheme = (theme) => {
  document.documentElement.dataset.theme = theme;
  draw();
};
const switchTheme = () => {
  const theme = document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  setTheme(theme === "dark" ? "light" : "dark");
};
$("theme").addEventListener("click", switchTheme);
dark.addEventListener("change", draw);
const setShade = () => document.body.classList.toggle("shade", $("shade").checked);
$("shade").addEventListener("change", setShade);
setShade();
$("shading").hidden = !unsureCount;
$("shading").lastElementChild.textContent = `${unsureCount} unsure`;
$("help").addEventListener("click", () => $("keys").showModal());
$("close").addEventListener("click", () => $("keys").close());
for (const kind of ["wheel", "touchmove"]) {
  addEventListener(kind, () => sound.paused || setFollow(false), { passive: true });
}

const asText = () =>
  parts
    .map(({ start: at, voice, segment }) => {
      const who = voice === null ? "" : `${about.voices[voice]}: `;
      return `[${clock(at)}] ${who}${[segment.text, segment.translation].filter(Boolean).join("\n")}\n`;
    })
    .join("");
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(asText());
    $("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren($("text")); // no clipboard here: Ctrl+C copies what is marked
    $("copy").textContent = "Press Ctrl+C";
  }
  setTimeout(() => ($("copy").textContent = "Copy"), 2000);
});

// ---- keys ----

const step = (entries, by) => {
  if (!entries.length) return;
  const at = lastBegun(entries, time());
  seek(entries[Math.min(Math.max(0, at + by), entries.length - 1)].start, { follow: true });
};
const unsure = timed.filter((word) => word.unsure);
const stepUnsure = (by) => {
  const now = time();
  const next = by > 0 ? unsure.find(({ start: at }) => at > now + NEAR) : unsure.findLast(({ start: at }) => at < now - NEAR);
  if (next) seek(next.start, { follow: true });
};
const KEYS = {
  " ": toggle,
  ArrowLeft: () => seek(time() - 5, { follow: true }),
  ArrowRight: () => seek(time() + 5, { follow: true }),
  ArrowUp: () => step(parts, -1),
  ArrowDown: () => step(parts, 1),
  ",": () => step(timed, -1),
  ".": () => step(timed, 1),
  u: () => stepUnsure(1),
  U: () => stepUnsure(-1),
  "/": () => $("find").select(),
  f: () => setFollow(!$("follow").checked),
  t: switchTheme,
  "?": () => $("keys").showModal(),
};
addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open || !Object.hasOwn(KEYS, key)) return;
  if (target.closest("input:not([type=checkbox]), select") || (key === " " && target.closest("button, input"))) return;
  event.preventDefault();
  KEYS[key]();
});

$("player").hidden = false;
new ResizeObserver(draw).observe($("timeline"));
show(false);

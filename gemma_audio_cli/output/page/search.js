// Search: words that a hit touches are marked as a whole.

// Upper and lower case, accents and white space make no difference.
const fold = (text) => text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase().replace(/\s+/g, " ");
let hits = []; // a hit: the elements of its words
let here = -1;
const folded = (part) => {
  if (part.ends) return part;
  part.folded = "";
  part.ends = part.pieces.map((piece) => (part.folded += fold(piece.text)).length);
  return part;
};
const search = () => {
  hits.flat().forEach((element) => element.classList.remove("hit", "here"));
  hits = [];
  here = -1;
  const wanted = fold($("find").value.trim());
  for (const part of wanted ? parts : []) {
    const { folded: text, ends, pieces } = folded(part);
    let piece = 0;
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
      while (ends[piece] <= at) piece += 1;
      let last = piece;
      while (ends[last] < at + wanted.length) last += 1;
      hits.push(pieces.slice(piece, last + 1).map(({ element }) => element));
    }
  }
  hits.flat().forEach((element) => element.classList.add("hit"));
  $("before").disabled = $("after").disabled = !hits.length;
  if (hits.length) go(Math.max(0, hits.findIndex(([first]) => first.getBoundingClientRect().top > panelBottom())));
  else $("count").textContent = wanted ? "no hit" : "";
};
const go = (to) => {
  if (!hits.length) return;
  if (hits[here]) hits[here].forEach((element) => element.classList.remove("here"));
  here = (to + hits.length) % hits.length;
  hits[here].forEach((element) => element.classList.add("here"));
  $("count").textContent = `${here + 1} of ${hits.length}`;
  setFollow(false); // or what is said would take the page away from the hit
  bring(hits[here][0], false);
};
let waiting = 0;
$("find").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(search, 120);
});
$("find").addEventListener("keydown", (event) => {
  if (event.key === "Enter") go(here + (event.shiftKey ? -1 : 1));
  else if (event.key === "Escape") $("find").value ? (($("find").value = ""), search()) : $("find").blur();
  else return;
  event.preventDefault();
});
$("before").addEventListener("click", () => go(here - 1));
$("after").addEventListener("click", () => go(here + 1));

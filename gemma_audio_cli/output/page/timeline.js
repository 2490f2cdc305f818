// The waveform and, below it, a lane for each voice; a click or a drag goes there.

const ratio = () => Math.min(3, devicePixelRatio || 1);
const fresh = (canvas) => {
  const box = canvas.getBoundingClientRect();
  canvas.width = Math.max(1, Math.round(box.width * ratio()));
  canvas.height = Math.max(1, Math.round(box.height * ratio()));
  const pen = canvas.getContext("2d");
  pen.fillStyle = getComputedStyle(canvas).color;
  return pen;
};
const drawWave = (canvas) => {
  const pen = fresh(canvas);
  const { width, height } = canvas;
  if (!about.waveform) {
    for (const part of parts) bar(pen, part, 0.3 * height, 0.4 * height);
    return;
  }
  const { start, step, peaks } = about.waveform;
  const pitch = 3 * ratio();
  for (let x = 0; x < width; x += pitch) {
    const from = Math.floor(((x / width) * total - start) / step);
    const to = Math.max(from + 1, Math.floor((((x + pitch) / width) * total - start) / step));
    let peak = -1;
    for (let i = Math.max(0, from); i < Math.min(to, peaks.length); i++) peak = Math.max(peak, peaks[i]);
    if (peak < 0) continue; // was not heard
    const half = Math.max(0.5 * ratio(), 0.48 * height * Math.pow(peak / 255, 0.7));
    pen.fillRect(x, height / 2 - half, pitch - ratio(), 2 * half);
  }
};
const bar = (pen, { start, end }, top, height) => {
  const { width } = pen.canvas;
  pen.fillRect((start / total) * width, top, Math.max(ratio(), ((end - start) / total) * width), height);
};
const lanes = about.voices.map((name, voice) => {
  const own = parts.filter((part) => part.voice === voice);
  const spoken = own.reduce((sum, part) => sum + part.end - part.start, 0);
  const row = made("div", `row lane ${voiceClass(voice)}`);
  const label = made("button", "name");
  label.type = "button";
  label.title = `${name}: ${clock(spoken)}; go to the next time`;
  label.append(made("bdi", "", name), made("small", "", clock(spoken)));
  label.addEventListener("click", () => {
    const next = own.find((part) => part.start > time() + NEAR) || own[0];
    if (next) seek(next.start, { follow: true });
  });
  const track = made("div", "track");
  const canvas = made("canvas");
  canvas.setAttribute("aria-hidden", "true");
  track.append(canvas);
  row.append(label, track);
  $("lanes").append(row);
  return { canvas, own };
});
const draw = () => {
  document.querySelectorAll("#wave canvas").forEach(drawWave);
  for (const { canvas, own } of lanes) {
    const pen = fresh(canvas);
    for (const part of own) bar(pen, part, 0.2 * canvas.height, 0.6 * canvas.height);
  }
};
const timeAt = (track, event) => {
  const box = track.getBoundingClientRect();
  return (total * Math.min(Math.max(0, event.clientX - box.left), box.width)) / box.width;
};
$("wave").setAttribute("aria-valuemax", Math.floor(total));
let dragged = null;
$("timeline").addEventListener("pointerdown", (event) => {
  dragged = event.button === 0 ? event.target.closest(".track") : null;
  if (!dragged) return;
  dragged.setPointerCapture(event.pointerId);
  seek(timeAt(dragged, event), { follow: true });
});
$("timeline").addEventListener("pointermove", (event) => {
  const track = event.target.closest(".track");
  if (dragged) seek(timeAt(dragged, event));
  $("hover").hidden = !track;
  if (!track) return;
  $("hover").textContent = clock(timeAt(track, event));
  $("wave").style.setProperty("--h", `${(100 * timeAt(track, event)) / total}%`);
});
for (const kind of ["pointerup", "pointercancel"]) $("timeline").addEventListener(kind, () => (dragged = null));
$("timeline").addEventListener("pointerleave", () => ($("hover").hidden = true));

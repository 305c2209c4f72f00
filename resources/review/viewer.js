// The review page: a table of findings, a viewer with three linked planes, and the reader's verdicts.
// Coordinates in the data are LPS mm; NiiVue's are RAS mm, so x and y change sign at its border (toRAS, toLPS).
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const WINDOWS = [["soft tissue", -160, 240], ["lung", -1350, 150], ["bone", -500, 1300], ["liver", -5, 185]];
const COLOURS = { accepted: "#4ade80", rejected: "#9ca3af", missed: "#38bdf8", none: "#fbbf24" };
const toRAS = (p) => [-p[0], -p[1], p[2]];
const toLPS = toRAS;

// ---------------------------------------------------------------- state

const fresh = () => ({ verdicts: {}, comments: {}, types: {}, missed: [], reviewer: "", complete: false });
const storageKey = "lesion review " + data.case + " " + data.digest;
let review = fresh();
let threshold = data.threshold;
let selected = null; // a finding's number, or "m1", "m2", ... for what was missed
let nv = null;
let saved = true;

function restore() {
  try {
    const text = localStorage.getItem(storageKey);
    if (text) review = Object.assign(fresh(), JSON.parse(text));
  } catch (error) { /* a page without storage still works; it only forgets when it is closed */ }
}

function changed() {
  saved = false;
  try { localStorage.setItem(storageKey, JSON.stringify(review)); } catch (error) { /* as above */ }
  render();
}

const mentioned = (f) => Boolean(data.report && data.report.mentions[f.number]?.sure);
const visible = () => data.findings.filter((f) => f.probability >= threshold || f.number === selected || mentioned(f) ||
  review.verdicts[f.number]);
const byNumber = (number) => data.findings.find((f) => f.number === number);
const missedName = (i) => "m" + (i + 1);
function pointOf(name) {
  if (typeof name === "number") return byNumber(name)?.point_mm;
  return review.missed[Number(String(name).slice(1)) - 1]?.point_mm;
}

// ---------------------------------------------------------------- table

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const whole = (value) => String(Math.round(value) + 0);
const mm = (values) => values.map(whole).join(", ");

function typeSelect(value, label, change) {
  const options = data.types.map((type) => element("option", { value: type, selected: type === value }, type));
  if (!value) options.unshift(element("option", { value: "", selected: true }, "unknown"));
  return element("select", { "aria-label": label, onchange: (event) => change(event.target.value) }, ...options);
}

function commentField(value, label, change) {
  return element("input", { type: "text", value: value || "", placeholder: "comment", "aria-label": label,
    class: "comment", onchange: (event) => change(event.target.value) });
}

function verdictButton(f, verdict, symbol) {
  const pressed = review.verdicts[f.number] === verdict;
  return element("button", { type: "button", class: "verdict " + verdict, "aria-pressed": String(pressed),
    title: verdict === "accepted" ? "a lesion (A)" : "not a lesion (R)", "aria-label": `${verdict}, finding ${f.number}`,
    onclick: (event) => { event.stopPropagation(); select(f.number, false); setVerdict(verdict); } }, symbol);
}

function mentionCell(f) {
  const mention = data.report && data.report.mentions[f.number];
  if (!data.report) return null;
  if (!mention) return element("td", { class: "quiet" }, "not mentioned");
  return element("td", {}, element("span", { class: mention.sure ? "chip yes" : "chip perhaps",
    title: mention.text }, mention.sure ? "mentioned" : "perhaps"));
}

function row(f) {
  const verdict = review.verdicts[f.number] || "";
  const sizes = `${f.long_mm.toFixed(0)} × ${f.short_mm.toFixed(0)} × ${f.z_extent_mm.toFixed(0)}`;
  return element("tr", { "data-number": f.number, "aria-selected": String(selected === f.number), class: verdict,
      onclick: () => select(f.number) },
    element("td", { class: "n" }, element("span", { class: "mark " + (verdict || "none") }, String(f.number))),
    element("td", { class: "n" }, f.probability.toFixed(2)),
    element("td", {}, typeSelect(review.types[f.number] || f.type, `type of finding ${f.number}`, (value) => {
      review.types[f.number] = value; changed(); }), f.organ ? element("div", { class: "quiet" }, f.organ) : null),
    element("td", { class: "n" }, sizes),
    element("td", { class: "n", title: `LPS mm: ${f.point_mm.map((v) => v.toFixed(1)).join(", ")}` },
      String(f.slice), element("div", { class: "quiet" }, mm(f.point_mm))),
    mentionCell(f),
    element("td", { class: "verdicts" }, verdictButton(f, "accepted", "✓"), verdictButton(f, "rejected", "✗")),
    element("td", {}, commentField(review.comments[f.number], `comment on finding ${f.number}`, (value) => {
      review.comments[f.number] = value; changed(); })));
}

function missedRow(m, i) {
  const name = missedName(i);
  return element("tr", { "data-number": name, "aria-selected": String(selected === name), class: "missed",
      onclick: () => select(name) },
    element("td", { class: "n" }, element("span", { class: "mark missed" }, name)),
    element("td", { class: "quiet" }, "missed"),
    element("td", {}, typeSelect(m.type, `type of ${name}`, (value) => { m.type = value || null; changed(); })),
    element("td", { class: "n" }, element("input", { type: "number", min: "1", max: "400", step: "1",
      value: m.long_mm ?? "", placeholder: "mm", "aria-label": `long diameter of ${name} in mm`, class: "size",
      onchange: (event) => { m.long_mm = event.target.value ? Number(event.target.value) : null; changed(); } })),
    element("td", { class: "n" }, String(m.slice), element("div", { class: "quiet" }, mm(m.point_mm))),
    data.report ? element("td", {}) : null,
    element("td", { class: "verdicts" }, element("button", { type: "button", class: "no-print", title: "take back",
      "aria-label": `take ${name} back`, onclick: (event) => { event.stopPropagation(); review.missed.splice(i, 1);
        if (selected === name) selected = null; changed(); } }, "⌫")),
    element("td", {}, commentField(m.comment, `comment on ${name}`, (value) => { m.comment = value; changed(); })));
}

function render() {
  const shown = visible();
  const active = document.activeElement;
  const kept = active && active.getAttribute && active.getAttribute("aria-label");
  $("findings").replaceChildren(...shown.map(row), ...review.missed.map(missedRow));
  if (kept && active.tagName !== "BODY" && !document.contains(active)) {
    document.querySelector(`[aria-label="${CSS.escape(kept)}"]`)?.focus();
  }
  $("none").hidden = shown.length + review.missed.length > 0;
  const decided = shown.filter((f) => review.verdicts[f.number]).length;
  $("count").textContent = `${shown.length} of ${data.findings.length} shown, ${decided} decided` +
    (review.missed.length ? `, ${review.missed.length} added` : "");
  $("threshold").value = threshold;
  $("threshold-value").textContent = threshold.toFixed(2);
  $("reviewer").value = review.reviewer;
  $("complete").checked = review.complete;
  $("state").textContent = saved ? "" : "changes not yet saved to a file";
  document.querySelectorAll("svg.marks").forEach(renderMarks);
  paint();
}

function markOf(name) {
  if (typeof name !== "number") return "missed";
  return review.verdicts[name] || "none";
}

function renderMarks(svg) {
  const [left, right, top, bottom] = svg.dataset.edges.split(",").map(Number);
  const [across, down] = [Number(svg.dataset.across), Number(svg.dataset.down)];
  const [width, height] = svg.dataset.size.split(",").map(Number);
  const spots = [...visible().map((f) => [f.number, f.point_mm]), ...review.missed.map((m, i) => [missedName(i), m.point_mm])];
  const made = spots.reverse().map(([name, point]) => {
    const x = (point[across] - left) / (right - left) * width, y = (point[down] - top) / (bottom - top) * height;
    const group = document.createElementNS("http://www.w3.org/2000/svg", "g");
    group.setAttribute("class", "spot " + markOf(name) + (name === selected ? " selected" : ""));
    group.setAttribute("data-number", name);
    group.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
    group.innerHTML = `<circle r="8"></circle><text dy="3.2">${name}</text>`;
    group.addEventListener("click", () => select(name));
    return group;
  });
  svg.replaceChildren(...made);
}

// ---------------------------------------------------------------- actions

function select(name, jump = true) {
  selected = name;
  const point = pointOf(name);
  if (jump && nv && point) {
    nv.scene.crosshairPos = nv.mm2frac(toRAS(point));
    nv.createOnLocationChange();
    nv.drawScene();
  }
  render();
  document.querySelector('tr[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const names = [...visible().map((f) => f.number), ...review.missed.map((m, i) => missedName(i))];
  if (!names.length) return;
  const at = names.indexOf(selected);
  select(names[at < 0 ? (by > 0 ? 0 : names.length - 1) : (at + by + names.length) % names.length]);
}

function setVerdict(verdict) {
  if (typeof selected !== "number") return;
  if (review.verdicts[selected] === verdict || !verdict) delete review.verdicts[selected];
  else review.verdicts[selected] = verdict;
  changed();
}

function crosshair() {
  return nv ? toLPS(Array.from(nv.frac2mm(nv.scene.crosshairPos)).slice(0, 3)) : null;
}

function addMissed() {
  const point = crosshair();
  if (!point) return;
  review.missed.push({ point_mm: point.map((v) => Math.round(v * 10) / 10), slice: sliceOf(point), type: null, long_mm: null, comment: "" });
  selected = missedName(review.missed.length - 1);
  changed();
  document.querySelector('tr[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
}

function sliceOf(point) {
  const s = data.scan;
  const along = [2, 5, 8].map((i) => s.direction[i]);
  const index = Math.round(along.reduce((sum, a, i) => sum + a * (point[i] - s.origin_mm[i]), 0) / s.spacing_mm[2]);
  return s.slice_numbers[Math.min(Math.max(index, 0), s.slice_numbers.length - 1)];
}

function setThreshold(value) {
  threshold = Math.min(1, Math.max(0.01, Math.round(value * 100) / 100));
  render();
}

function setWindow(number) {
  const [, low, high] = WINDOWS[number];
  document.querySelectorAll("#windows button").forEach((button, i) => button.setAttribute("aria-pressed", String(i === number)));
  if (!nv || !nv.volumes.length) return;
  nv.volumes[0].cal_min = low;
  nv.volumes[0].cal_max = high;
  nv.updateGLVolume();
}

function reviewFile() {
  const findings = data.findings.map((f) => ({
    number: f.number, point_mm: f.point_mm, lower_mm: f.lower_mm, upper_mm: f.upper_mm, long_mm: f.long_mm,
    short_mm: f.short_mm, z_extent_mm: f.z_extent_mm, type: review.types[f.number] || f.type, probability: f.probability,
    verdict: review.verdicts[f.number] || null, comment: review.comments[f.number] || "",
  }));
  const missed = review.missed.map((m) => ({ point_mm: m.point_mm, type: m.type, long_mm: m.long_mm, comment: m.comment }));
  const { size, spacing_mm, origin_mm, direction } = data.scan;
  return {
    type: "lesion review", version: { major: 1, minor: 0 }, case: data.case,
    scan: { size, spacing_mm, origin_mm, direction },
    made_by: data.made_by, reviewer: review.reviewer, reviewed: new Date().toISOString(),
    complete: review.complete, findings, missed,
  };
}

function save() {
  const text = JSON.stringify(reviewFile(), null, 1) + "\n";
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })), download: data.file });
  document.body.append(link);
  link.click();
  link.remove();
  saved = true;
  render();
}

async function load(file) {
  let found;
  try { found = JSON.parse(await file.text()); } catch (error) { found = {}; }
  if (found.type !== "lesion review" || found.case !== data.case) {
    $("state").textContent = `expected a review of ${data.case}, found ${found.type ? "one of " + found.case : "another file"}`;
    return;
  }
  review = fresh();
  for (const f of found.findings) {
    if (f.verdict) review.verdicts[f.number] = f.verdict;
    if (f.comment) review.comments[f.number] = f.comment;
    const own = byNumber(f.number);
    if (own && own.type !== f.type) review.types[f.number] = f.type;
  }
  review.missed = found.missed.map((m) => ({ ...m, slice: sliceOf(m.point_mm) }));
  review.reviewer = found.reviewer;
  review.complete = found.complete;
  changed();
  saved = true;
  render();
}

// ---------------------------------------------------------------- viewer

// For each plane on the canvas: its rectangle, and how LPS mm become pixels in it.
function tiles() {
  return nv.screenSlices.map((tile, i) => {
    const [left, top, width, height] = tile.leftTopWidthHeight;
    const [across, down] = [[0, 1], [0, 2], [1, 2]][tile.axCorSag];
    const ends = [[left, top], [left + width, top + height]].map(([x, y]) =>
      toLPS(Array.from(nv.frac2mm(nv.screenXY2TextureFrac(x, y, i, false))).slice(0, 3)));
    return { left, top, width, height, across, down, through: 3 - across - down,
      x: (p) => left + (p[across] - ends[0][across]) / (ends[1][across] - ends[0][across]) * width,
      y: (p) => top + (p[down] - ends[0][down]) / (ends[1][down] - ends[0][down]) * height,
      scale: width / Math.abs(ends[1][across] - ends[0][across]) };
  });
}

function paint() {
  if (!nv || !nv.volumes.length) return;
  const canvas = $("marks"), under = $("gl");
  if (canvas.width !== under.width || canvas.height !== under.height) [canvas.width, canvas.height] = [under.width, under.height];
  const context = canvas.getContext("2d"), here = crosshair(), ratio = under.width / under.clientWidth || 1;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.font = `600 ${13 * ratio}px system-ui, sans-serif`;
  for (const tile of tiles()) {
    context.save();
    context.beginPath();
    context.rect(tile.left, tile.top, tile.width, tile.height);
    context.clip();
    for (const f of visible()) {
      const half = [0, 1, 2].map((i) => (f.upper_mm[i] - f.lower_mm[i]) / 2);
      const off = Math.abs(here[tile.through] - f.point_mm[tile.through]) / half[tile.through];
      if (off >= 1) continue;
      const shrink = Math.sqrt(1 - off * off);
      outline(context, tile, f.number, f.point_mm, half[tile.across] * shrink, half[tile.down] * shrink, ratio);
    }
    review.missed.forEach((m, i) => {
      const half = (m.long_mm || 10) / 2, off = Math.abs(here[tile.through] - m.point_mm[tile.through]) / half;
      if (off < 1) outline(context, tile, missedName(i), m.point_mm, half * Math.sqrt(1 - off * off), half * Math.sqrt(1 - off * off), ratio);
    });
    context.restore();
  }
  $("place").textContent = `slice ${sliceOf(here)} · ${mm(here)} mm LPS`;
}

function outline(context, tile, name, point, across, down, ratio) {
  const x = tile.x(point), y = tile.y(point), mark = markOf(name), chosen = name === selected;
  const rx = across * tile.scale + 2 * ratio, ry = down * tile.scale + 2 * ratio;
  context.setLineDash(mark === "rejected" ? [4 * ratio, 4 * ratio] : []);
  for (const [colour, width] of [["rgba(0,0,0,.65)", chosen ? 5 : 3.5], [COLOURS[mark], chosen ? 2.5 : 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * ratio;
    context.beginPath();
    context.ellipse(x, y, rx, ry, 0, 0, 2 * Math.PI);
    context.stroke();
  }
  context.setLineDash([]);
  context.lineWidth = 3 * ratio;
  context.strokeStyle = "rgba(0,0,0,.8)";
  context.strokeText(name, x + rx * 0.75 + 2 * ratio, y - ry * 0.75);
  context.fillStyle = COLOURS[mark];
  context.fillText(name, x + rx * 0.75 + 2 * ratio, y - ry * 0.75);
}

async function voxels() {
  const text = atob($("scan").textContent);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  $("scan").remove();
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// NiiVue colours every voxel on the graphics card whenever the window changes. Without a card (remote desktops,
// tests) that takes many seconds; a table of 65,536 greys and one upload take a fraction of one, so this page does
// that part itself. The voxels of the page's scan lie in RAS order, which is that of NiiVue's texture.
function colourOnProcessor(made) {
  const gl = made.gl, start = made.updateGLVolume.bind(made), greys = new Uint32Array(65536);
  let colours = null;
  made.updateGLVolume = () => {
    const volume = made.volumes[0], voxels = volume.img, [, x, y, z] = made.volumes[0].dimsRAS;
    if (!colours) {
      gl.drawArrays = () => {};
      try { start(); } finally { delete gl.drawArrays; }
      colours = new Uint32Array(voxels.length);
    }
    const scale = 255 / (volume.cal_max - volume.cal_min);
    for (let v = -32768; v < 32768; v++) {
      const grey = Math.max(0, Math.min(255, Math.round((v - volume.cal_min) * scale)));
      greys[v + 32768] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    for (let i = 0; i < voxels.length; i++) colours[i] = greys[voxels[i] + 32768];
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_3D, made.volumeTexture);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, 0, x, y, z, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(colours.buffer));
    const lower = volume.cal_min, upper = volume.cal_max;
    const known = WINDOWS.find(([, low, high]) => low === lower && high === upper);
    $("window").textContent = `${known ? known[0] : "own"}: L ${Math.round((lower + upper) / 2)} W ${Math.round(upper - lower)}`;
    made.drawScene();
  };
}

async function startViewer() {
  const { Niivue, NVImage, DRAG_MODE } = niivue;
  const made = new Niivue({
    isRadiologicalConvention: true, sagittalNoseLeft: true, isSliceMM: false, crosshairWidth: 1, crosshairWidthUnit: "mm",
    crosshairGap: 8, crosshairColor: [0.35, 0.65, 1, 0.8], dragMode: DRAG_MODE.windowing, dragAndDropEnabled: false, logLevel: "error",
    multiplanarShowRender: 0, isOrientationTextVisible: true, fontColor: [0.75, 0.75, 0.75, 1], loadingText: "", fontMinPx: 12,
    viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "", isAntiAlias: false, fontSizeScaling: 0.2,
  });
  await made.attachToCanvas($("gl"));
  colourOnProcessor(made);
  const volume = await NVImage.new(await voxels(), "scan.nii", "gray", 1, null, WINDOWS[0][1], WINDOWS[0][2], true);
  layout(made);
  const draw = made.drawScene.bind(made);
  made.drawScene = () => { const result = draw(); if (nv) paint(); return result; };
  made.addVolume(volume);
  nv = window.viewer = made;
  if (selected === null && visible().length) select(visible()[0].number);
  else made.drawScene();
  window.addEventListener("resize", () => { layout(made); made.drawScene(); });
  $("loading").hidden = true;
  document.body.dataset.ready = "yes";
}

function layout(made) {
  const wide = $("gl").clientWidth > $("gl").clientHeight * 1.35;
  made.setCustomLayout(wide
    ? [{ sliceType: 0, position: [0, 0, 0.6, 1] }, { sliceType: 1, position: [0.6, 0, 0.4, 0.5] }, { sliceType: 2, position: [0.6, 0.5, 0.4, 0.5] }]
    : [{ sliceType: 0, position: [0, 0, 1, 0.55] }, { sliceType: 1, position: [0, 0.55, 0.5, 0.45] }, { sliceType: 2, position: [0.5, 0.55, 0.5, 0.45] }]);
}

function scroll(by) {
  if (!nv) return;
  const place = Array.from(nv.frac2mm(nv.scene.crosshairPos)).slice(0, 3);
  place[2] += by * data.scan.spacing_mm[2];
  nv.scene.crosshairPos = nv.mm2frac(place).map((v) => Math.min(1, Math.max(0, v)));
  nv.createOnLocationChange();
  nv.drawScene();
}

// ---------------------------------------------------------------- keys and start

const KEYS = {
  j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
  a: () => setVerdict("accepted"), r: () => setVerdict("rejected"), u: () => setVerdict(null),
  m: addMissed, s: save, "?": () => $("help").showModal(),
  c: () => document.querySelector('tr[aria-selected="true"] .comment')?.focus(),
  "1": () => setWindow(0), "2": () => setWindow(1), "3": () => setWindow(2), "4": () => setWindow(3),
  "-": () => setThreshold(threshold - 0.05), "+": () => setThreshold(threshold + 0.05), "=": () => setThreshold(threshold + 0.05),
  PageUp: () => scroll(1), PageDown: () => scroll(-1),
};

window.addEventListener("keydown", (event) => {
  const field = event.target.closest && event.target.closest("input, select, textarea, dialog[open]");
  if (event.key === "Escape" && field) { event.target.blur(); return; }
  if (field || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  KEYS[event.key]();
}, true);

$("threshold").addEventListener("input", (event) => setThreshold(Number(event.target.value)));
$("reviewer").addEventListener("change", (event) => { review.reviewer = event.target.value; changed(); });
$("complete").addEventListener("change", (event) => { review.complete = event.target.checked; changed(); });
$("add").addEventListener("click", addMissed);
$("save").addEventListener("click", save);
$("open").addEventListener("change", (event) => { if (event.target.files[0]) load(event.target.files[0]); event.target.value = ""; });
$("show-help").addEventListener("click", () => $("help").showModal());
document.querySelectorAll("#windows button").forEach((button, i) => button.addEventListener("click", () => setWindow(i)));
window.addEventListener("beforeprint", () => {
  if (!nv || !$("gl").clientWidth) return;
  nv.drawScene();
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [$("gl").width, $("gl").height];
  sheet.getContext("2d").drawImage($("gl"), 0, 0);
  sheet.getContext("2d").drawImage($("marks"), 0, 0);
  $("printed").src = sheet.toDataURL("image/jpeg", 0.9);
});

restore();
render();
requestAnimationFrame(() => startViewer().catch((error) => {
  $("loading").textContent = `The viewer needs WebGL 2, which this browser does not offer (${error.message}). The table works without it.`;
  document.body.dataset.ready = "no viewer";
}));

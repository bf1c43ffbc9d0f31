// The map page: days, layers and colours over a map; the series of a pixel beside it. No server code is needed:
// tiles and series are files, whether they are written beforehand or made when asked for.

import { about, pixels, series, stations, tile } from "./data.js";
import { MISSING, PALETTES, colourBits, colourValues, css } from "./colours.js";
import { drawChart } from "./chart.js";

const $ = (id) => document.getElementById(id);
// Pixels a side of a tile, and how large it is at most on the screen: values are never coarser than the screen.
const SIDE = 256;
const SHOWN = 181;
const REFRESH_MS = 20000;
// Ways to say a volume share of water; millimetres are those of the uppermost 5 cm.
const UNITS = {
  "m³ m⁻³": { name: "m³ m⁻³", factor: 1, digits: 3 },
  "vol. %": { name: "vol. %", factor: 100, digits: 1 },
  "mm in 0–5 cm": { name: "mm in 0–5 cm", factor: 50, digits: 1 },
};

let site;
let map;
let beside = null;
let places = [];
let shown = null;
let serial = 0;
let playing = false;
let reading = null;
const ranges = {};
const state = { day: 0, layer: 0, unit: "m³ m⁻³", palette: {}, opacity: 100, compare: "", other: 0, at: null };
const hash = new URLSearchParams(location.hash.slice(1));

const layerNow = () => site.layers[state.layer];
const isVolume = (layer) => layer.units === "m3 m-3";
const unitOf = (layer) => (isVolume(layer) ? UNITS[state.unit] : { name: layer.units === "1" ? "" : layer.units, factor: 1, digits: 2 });
const paletteOf = (layer) => state.palette[layer.name] ?? layer.palette;
const rangeKey = () => (state.compare === "difference" ? `${layerNow().name} difference` : layerNow().name);
const worded = (date) => `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}`;

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function rangeNow() {
  if (ranges[rangeKey()]) return ranges[rangeKey()];
  const [low, high] = layerNow().range ?? [0, 1];
  return state.compare === "difference" ? [-(high - low) / 3, (high - low) / 3] : [low, high];
}

// ---- pictures -------------------------------------------------------------------------------------------

// Everything that a picture depends on; two equal ones are the same picture.
function wanted(day, difference) {
  const layer = layerNow();
  const values = layer.kind === "values";
  const changed = difference && values;
  return {
    day, layer: state.layer, version: site.days[day].version,
    base: changed ? state.other : null,
    palette: changed ? "drier, wetter" : paletteOf(layer),
    range: values ? rangeNow() : null,
  };
}

maplibregl.setWorkerUrl(new URL("vendor/maplibre-gl-csp-worker.js", location.href).href);
maplibregl.addProtocol("values", async (request, abort) => {
  const [, , z, x, y, text] = request.url.split("/");
  const picture = JSON.parse(decodeURIComponent(text));
  const layer = site.layers[picture.layer];
  const at = [Number(z), Number(x), Number(y), abort.signal];
  const [inside, stored, base] = await Promise.all([
    pixels(...at),
    tile(layer, site.days[picture.day], ...at),
    picture.base === null ? null : tile(layer, site.days[picture.base], ...at),
  ]);
  const mask = inside.map((index) => index + 1);
  const words = layer.kind === "values"
    ? colourValues(stored, layer, picture.palette, ...picture.range, base, mask)
    : colourBits(stored, site.flags, site.clear, mask);
  const image = new ImageData(new Uint8ClampedArray(words.buffer), SIDE, SIDE);
  return { data: await createImageBitmap(image) };
});

// Put a picture on a map; the one before stays until the new one is complete.
function put(target, picture, done) {
  const id = `picture-${++serial}`;
  const below = target.getLayer("stations") ? "stations" : undefined;
  target.addSource(id, {
    type: "raster", tileSize: SHOWN, bounds: site.bounds, minzoom: site.layers[picture.layer].minzoom, maxzoom: site.zoom[1],
    tiles: [`values:///{z}/{x}/{y}/${encodeURIComponent(JSON.stringify(picture))}`.replace("values:///", "values://")],
  });
  target.addLayer({
    id, type: "raster", source: id,
    paint: { "raster-fade-duration": 0, "raster-resampling": "nearest", "raster-opacity": state.opacity / 100 },
  }, below);
  target.wantedPicture = id;
  const settled = () => {
    if (target.wantedPicture !== id) return;
    for (const layer of target.getStyle().layers) {
      if (layer.id.startsWith("picture-") && layer.id !== id) {
        target.removeLayer(layer.id);
        target.removeSource(layer.id);
      }
    }
    done();
  };
  target.once("idle", settled);
}

function show() {
  const picture = wanted(state.day, state.compare === "difference");
  const other = state.compare === "swipe" ? wanted(state.other, false) : null;
  const key = JSON.stringify([picture, other]);
  remember();
  if (shown === key) return Promise.resolve();
  shown = key;
  document.body.dataset.loading = "true";
  return new Promise((resolve) => {
    put(map, picture, () => {
      describe(picture);
      delete document.body.dataset.loading;
      resolve();
    });
    if (other && beside?.ready) put(beside, other, () => {});
  });
}

// Say what is on the screen: only once it is there.
function describe(picture) {
  const layer = site.layers[picture.layer];
  $("shown-day").textContent = worded(site.days[picture.day].date);
  const minus = picture.base === null ? "" : ` minus ${worded(site.days[picture.base].date)}`;
  $("shown-layer").textContent = `${minus} ${layer.title}`.trim();
  document.body.dataset.shown = `${site.days[picture.day].date}/${layer.name}`;
  legend(picture);
}

function legend(picture) {
  const layer = site.layers[picture.layer];
  const holder = $("legend");
  holder.replaceChildren();
  $("scale").hidden = layer.kind !== "values";
  if (layer.kind !== "values") {
    const list = document.createElement("ul");
    list.className = "classes";
    const rows = [["no remark", site.clear], ...site.flags.filter((flag) => flag.seen).map((flag) => [flag.words, flag.colour])];
    for (const [words, colour] of rows) list.append(entry(words, colour));
    holder.append(list);
    return;
  }
  const unit = unitOf(layer);
  const bar = document.createElement("canvas");
  [bar.width, bar.height] = [256, 1];
  const pen = bar.getContext("2d");
  for (let i = 0; i < 256; i++) {
    pen.fillStyle = css(picture.palette, i / 255);
    pen.fillRect(i, 0, 1, 1);
  }
  const ticks = document.createElement("div");
  ticks.className = "ticks";
  const [low, high] = picture.range;
  for (let i = 0; i <= 4; i++) {
    const tick = document.createElement("span");
    tick.textContent = ((low + ((high - low) * i) / 4) * unit.factor).toFixed(unit.digits);
    ticks.append(tick);
  }
  const name = document.createElement("p");
  name.className = "unit";
  name.textContent = `${picture.base === null ? layer.title : `change of ${layer.title}`}${unit.name ? `, ${unit.name}` : ""}`;
  const list = document.createElement("ul");
  list.className = "classes";
  list.append(entry("missing", MISSING));
  holder.append(bar, ticks, name, list);
  $("low").value = Number((low * unit.factor).toPrecision(4));
  $("high").value = Number((high * unit.factor).toPrecision(4));
}

function entry(words, colour) {
  const item = document.createElement("li");
  const patch = document.createElement("canvas");
  const pen = patch.getContext("2d");
  pen.fillStyle = colour;
  pen.fillRect(0, 0, patch.width, patch.height);
  item.append(patch, words);
  return item;
}

// ---- controls -------------------------------------------------------------------------------------------

function options(select, names, chosen) {
  select.replaceChildren(...names.map(([value, words]) => new Option(words, value, false, String(value) === String(chosen))));
}

function controls() {
  const layer = layerNow();
  $("day").value = state.day;
  $("date").textContent = worded(site.days[state.day].date);
  $("day").setAttribute("aria-valuetext", worded(site.days[state.day].date));
  $("layer").value = state.layer;
  options($("palette"), PALETTES.map((name) => [name, name]), paletteOf(layer));
  $("palette").disabled = state.compare === "difference";
  $("unit").parentElement.hidden = !isVolume(layer);
  $("compare").value = state.compare;
  $("other").value = state.other;
  $("other-label").hidden = !state.compare;
}

function change(part) {
  Object.assign(state, part);
  controls();
  compareMaps();
  if (reading) readDay();
  return show().catch((error) => say(error.message, true));
}

function setRange() {
  const unit = unitOf(layerNow());
  const [low, high] = [Number($("low").value) / unit.factor, Number($("high").value) / unit.factor];
  if (!(high > low)) return say("The range must go from a lower to a higher value.", true);
  say("");
  ranges[rangeKey()] = [low, high];
  change({});
}

async function play(on) {
  playing = on;
  $("play").setAttribute("aria-pressed", String(on));
  $("play").querySelector(".words").textContent = on ? "Pause" : "Play";
  $("play").firstElementChild.textContent = on ? "❚❚" : "▶";
  while (playing) {
    const began = performance.now();
    await change({ day: (state.day + 1) % site.days.length });
    await new Promise((next) => setTimeout(next, Math.max(50, 600 - (performance.now() - began))));
  }
}

function compareMaps() {
  const on = state.compare === "swipe";
  $("other-map").hidden = $("swipe").hidden = $("other-shown").hidden = !on;
  $("other-shown").textContent = worded(site.days[state.other].date);
  if (on && !beside) {
    beside = newMap("other-map", { interactive: false, attributionControl: false });
    const follow = () => beside.jumpTo({ center: map.getCenter(), zoom: map.getZoom(), bearing: map.getBearing() });
    map.on("move", follow);
    beside.once("load", () => {
      follow();
      beside.ready = true;
      shown = null;
      show();
    });
  }
  if (on) {
    $("other-map").style.clipPath = `inset(0 0 0 ${$("swipe").value}%)`;
    beside.resize();
  }
}

// ---- the series of a pixel ------------------------------------------------------------------------------

async function pick(lngLat, exact = null, name = null) {
  state.at = [lngLat.lng, lngLat.lat];
  remember();
  try {
    const [row, col] = exact ?? (await pixelAt(lngLat));
    if (row < 0) return say("There is no map at this place.");
    const stored = await series(site, row, col);
    reading = { row, col, lngLat, name, stored, station: places.find((place) => place.row === row && place.col === col) };
    say("");
    marker(lngLat);
    draw();
  } catch (error) {
    say(error.message, true);
  }
}

async function pixelAt({ lng, lat }) {
  const z = site.zoom[1] + 1;
  const size = 2 ** z;
  const sine = Math.sin((lat * Math.PI) / 180);
  const across = (lng / 360 + 0.5) * size;
  const down = (0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI)) * size;
  const [x, y] = [Math.floor(across), Math.floor(down)];
  const [west, south, east, north] = site.bounds;
  if (lng < west || lng > east || lat < south || lat > north) return [-1, -1];
  const index = (await pixels(z, x, y))[Math.floor((down - y) * SIDE) * SIDE + Math.floor((across - x) * SIDE)];
  return index < 0 ? [-1, -1] : [Math.floor(index / site.shape[1]), index % site.shape[1]];
}

let pin = null;
function marker(lngLat) {
  if (!pin) {
    const dot = document.createElement("div");
    dot.className = "marker";
    pin = new maplibregl.Marker({ element: dot });
  }
  pin.setLngLat(lngLat).addTo(map);
}

const physical = (name, value) => {
  const layer = site.layers.find((one) => one.name === name);
  return value === layer.missing || value !== value ? null : value * layer.scale + layer.offset;
};
const words = (bits) => site.flags.filter((flag) => bits & flag.mask).map((flag) => flag.words);
const valuesOf = (name) => (reading.stored[name] ?? []).map((value) => physical(name, value));

function draw() {
  $("reading").hidden = false;
  const unit = UNITS[state.unit];
  const scaled = (name) => valuesOf(name).map((value) => (value === null ? null : value * unit.factor));
  const measured = reading.station?.measured;
  drawChart($("chart"), {
    days: site.days.map((day) => ({ seconds: Date.parse(worded(day.date)) / 1000 })),
    estimate: scaled("soil_moisture"), lower: scaled("lower"), upper: scaled("upper"),
    observed: measured && site.days.map((day) => (measured[day.date] == null ? null : measured[day.date] * unit.factor)),
  }, unit, () => state.day, (day) => change({ day }), hover);
  $("where").textContent = reading.station?.id ?? reading.name
    ?? `${reading.lngLat.lat.toFixed(4)}°, ${reading.lngLat.lng.toFixed(4)}° (row ${reading.row}, column ${reading.col})`;
  readDay();
  const counts = new Map();
  for (const bits of reading.stored.quality ?? []) for (const text of words(bits)) counts.set(text, (counts.get(text) ?? 0) + 1);
  $("counts").replaceChildren(...[...counts].map(([text, n]) => listed(`${n} of ${site.days.length} days: ${text}`)));
}

// The day under the pointer in the chart.
function hover(day) {
  $("hover").textContent = "";
  if (day == null) return;
  const unit = UNITS[state.unit];
  const text = (value) => (value == null ? "–" : (value * unit.factor).toFixed(unit.digits));
  const [value, low, high] = ["soil_moisture", "lower", "upper"].map((name) => valuesOf(name)[day]);
  const measured = reading.station?.measured[site.days[day].date];
  $("hover").textContent = `${worded(site.days[day].date)}: ${text(value)} (${text(low)} to ${text(high)})${measured == null ? "" : `, measured ${text(measured)}`}`;
}

function readDay() {
  const unit = UNITS[state.unit];
  const [value, low, high] = ["soil_moisture", "lower", "upper"].map((name) => valuesOf(name)[state.day] ?? null);
  const text = (number) => (number * unit.factor).toFixed(unit.digits);
  const strong = document.createElement("strong");
  strong.textContent = value === null ? "no value" : text(value);
  const interval = low === null || high === null ? "" : `, interval ${text(low)} to ${text(high)}`;
  $("value").replaceChildren(`${worded(site.days[state.day].date)}: `, strong, value === null ? "" : ` ${unit.name}${interval}`);
  $("reasons").replaceChildren(...words(reading.stored.quality?.[state.day] ?? 0).map(listed));
  const old = $("chart").querySelector(".uplot");
  if (old && reading.drawn !== state.day) {
    reading.drawn = state.day;
    requestAnimationFrame(() => reading && redraw());
  }
}

// The line of the chosen day moves.
const redraw = () => {
  const before = reading.drawn;
  draw();
  reading.drawn = before;
};

function listed(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

function table() {
  const columns = ["soil_moisture", "lower", "upper"].map(valuesOf);
  const cell = (value) => (value == null ? "" : Number(value.toFixed(5)));
  const rows = site.days.map((day, k) => {
    const bits = reading.stored.quality?.[k] ?? 0;
    return [worded(day.date), ...columns.map((column) => cell(column[k])), bits, `"${words(bits).join("; ")}"`].join(",");
  });
  return ["date,estimate,lower,upper,quality,reasons", ...rows].join("\n") + "\n";
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  link.download = `soil_moisture_row${reading.row}_col${reading.col}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// ---- stations -------------------------------------------------------------------------------------------

function drawStations() {
  if (!places.length) return;
  $("stations").hidden = false;
  const number = (value) => (value == null ? "–" : value.toFixed(3));
  $("station-list").replaceChildren(...places.map((place) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${place.id}: R ${number(place.corr)}, ubRMSE ${number(place.ubrmse)}, bias ${number(place.bias)}`;
    button.addEventListener("click", () => visit(place));
    item.append(button);
    return item;
  }));
  map.addSource("stations", {
    type: "geojson",
    data: {
      type: "FeatureCollection",
      features: places.map((place, index) => ({
        type: "Feature", properties: { index }, geometry: { type: "Point", coordinates: [place.longitude, place.latitude] },
      })),
    },
  });
  map.addLayer({
    id: "stations", type: "circle", source: "stations",
    paint: { "circle-radius": 5, "circle-color": "#ffffff", "circle-stroke-color": "#222222", "circle-stroke-width": 2 },
  });
  map.on("mouseenter", "stations", () => (map.getCanvas().style.cursor = "pointer"));
  map.on("mouseleave", "stations", () => (map.getCanvas().style.cursor = "crosshair"));
}

function visit(place) {
  const lngLat = new maplibregl.LngLat(place.longitude, place.latitude);
  if (!map.getBounds().contains(lngLat)) map.jumpTo({ center: lngLat });
  pick(lngLat, [place.row, place.col], place.id);
}

// ---- address --------------------------------------------------------------------------------------------

function remember() {
  const centre = map.getCenter();
  const parts = {
    day: site.days[state.day].date, layer: layerNow().name,
    map: [map.getZoom().toFixed(2), centre.lat.toFixed(5), centre.lng.toFixed(5)].join("/"),
    ...(state.at && { at: state.at.map((v) => v.toFixed(6)).join(",") }),
    ...(state.compare && { compare: state.compare, other: site.days[state.other].date }),
    ...(state.unit !== "m³ m⁻³" && { unit: state.unit }),
    ...(ranges[rangeKey()] && { range: ranges[rangeKey()].map((v) => Number(v.toPrecision(5))).join(",") }),
  };
  history.replaceState(null, "", `#${Object.entries(parts).map(([k, v]) => `${k}=${encodeURIComponent(v).replaceAll("%2F", "/").replaceAll("%2C", ",")}`).join("&")}`);
}

function recall() {
  const day = site.days.findIndex((one) => one.date === hash.get("day"));
  const layer = site.layers.findIndex((one) => one.name === hash.get("layer"));
  const other = site.days.findIndex((one) => one.date === hash.get("other"));
  if (day >= 0) state.day = day;
  if (layer >= 0) state.layer = layer;
  if (other >= 0) state.other = other;
  if (["difference", "swipe"].includes(hash.get("compare"))) state.compare = hash.get("compare");
  if (UNITS[hash.get("unit")]) state.unit = hash.get("unit");
  const range = (hash.get("range") ?? "").split(",").map(Number);
  if (range.length === 2 && range[1] > range[0]) ranges[rangeKey()] = range;
}

// ---- start ----------------------------------------------------------------------------------------------

function newMap(container, more) {
  const layers = [{ id: "paper", type: "background", paint: { "background-color": "#e9ecef" } }];
  const sources = {};
  if (site.baseMap) {
    sources.base = { type: "raster", tiles: [site.baseMap], tileSize: 256 };
    layers.push({ id: "base", type: "raster", source: "base" });
  }
  return new maplibregl.Map({
    container, style: { version: 8, sources, layers }, maxZoom: site.zoom[1] + 5,
    bounds: site.bounds, fitBoundsOptions: { padding: 24 }, dragRotate: false, pitchWithRotate: false, touchPitch: false, ...more,
  });
}

// Days that were exported again are shown without a reload.
async function refresh() {
  try {
    const now = await about();
    if (now.version === site.version) return;
    const date = site.days[state.day].date;
    site = now;
    state.day = Math.max(0, site.days.findIndex((day) => day.date === date));
    fill();
    await change({});
    if (reading) await pick(reading.lngLat, [reading.row, reading.col], reading.name);
  } catch (error) {
    say(`The maps cannot be read: ${error.message}`, true);
  }
}

function fill() {
  $("day").max = site.days.length - 1;
  $("extent").textContent = site.days.length > 1
    ? `${worded(site.days[0].date)} to ${worded(site.days.at(-1).date)}` : worded(site.days[0].date);
  options($("layer"), site.layers.filter((layer) => layer.drawn).map((layer) => [site.layers.indexOf(layer), layer.title]), state.layer);
  options($("unit"), Object.keys(UNITS).map((name) => [name, name]), state.unit);
  options($("other"), site.days.map((day, k) => [k, worded(day.date)]), state.other);
}

async function start() {
  site = await about();
  places = site.stations ? await stations() : [];
  recall();
  $("made").textContent = site.made;
  map = newMap("map", { attributionControl: { compact: true } });
  window.mapPage = { map, state: () => ({ ...state, reading, site }) };
  const [zoom, lat, lng] = (hash.get("map") ?? "").split("/").map(Number);
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibregl.ScaleControl({ maxWidth: 120 }), "bottom-right");
  map.touchZoomRotate.disableRotation();
  map.on("error", (event) => {
    if (event.error?.name !== "AbortError") say(event.error?.message ?? "A tile cannot be read.", true);
  });
  map.getCanvas().style.cursor = "crosshair";
  map.getCanvas().setAttribute("aria-label", "Map; arrows move it, plus and minus zoom, Enter reads the pixel at its centre");
  fill();
  controls();
  await map.once("load");
  if (Number.isFinite(lng)) map.jumpTo({ zoom, center: [lng, lat] });
  drawStations();
  map.on("moveend", remember);
  map.on("click", (event) => {
    const hit = map.getLayer("stations") && map.queryRenderedFeatures(event.point, { layers: ["stations"] })[0];
    if (hit) visit(places[hit.properties.index]);
    else pick(event.lngLat);
  });
  listen();
  await change({});
  const at = (hash.get("at") ?? "").split(",").map(Number);
  if (at.length === 2 && at.every(Number.isFinite)) pick(new maplibregl.LngLat(...at));
  if (site.live) {
    setInterval(() => document.hidden || refresh(), REFRESH_MS);
    addEventListener("focus", refresh);
  }
}

function listen() {
  const step = (by) => change({ day: (state.day + by + site.days.length) % site.days.length });
  $("day").addEventListener("input", (event) => change({ day: Number(event.target.value) }));
  $("before").addEventListener("click", () => step(-1));
  $("after").addEventListener("click", () => step(1));
  $("play").addEventListener("click", () => play(!playing));
  $("layer").addEventListener("change", (event) => change({ layer: Number(event.target.value) }));
  $("palette").addEventListener("change", (event) => change({ palette: { ...state.palette, [layerNow().name]: event.target.value } }));
  $("unit").addEventListener("change", (event) => {
    change({ unit: event.target.value });
    describe(wanted(state.day, state.compare === "difference"));
    if (reading) draw();
  });
  for (const id of ["low", "high"]) $(id).addEventListener("change", setRange);
  $("reset").addEventListener("click", () => {
    delete ranges[rangeKey()];
    change({});
  });
  $("opacity").addEventListener("input", (event) => {
    state.opacity = Number(event.target.value);
    for (const target of [map, beside]) {
      for (const layer of target?.getStyle().layers ?? []) {
        if (layer.id.startsWith("picture-")) target.setPaintProperty(layer.id, "raster-opacity", state.opacity / 100);
      }
    }
  });
  $("compare").addEventListener("change", (event) => change({ compare: event.target.value }));
  $("other").addEventListener("change", (event) => change({ other: Number(event.target.value) }));
  $("swipe").addEventListener("input", compareMaps);
  $("centre").addEventListener("click", () => pick(map.getCenter()));
  $("csv").addEventListener("click", download);
  $("close").addEventListener("click", () => {
    $("reading").hidden = true;
    pin?.remove();
    reading = state.at = null;
    remember();
  });
  map.getCanvas().addEventListener("keydown", (event) => event.key === "Enter" && pick(map.getCenter()));
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, button, a") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") play(!playing);
    else if (event.key === ",") step(-1);
    else if (event.key === ".") step(1);
    else return;
    event.preventDefault();
  });
  addEventListener("resize", () => reading && draw());
}

start().catch((error) => say(`The maps cannot be read: ${error.message}`, true));

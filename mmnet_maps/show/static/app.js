// The map page: days, layers and colours over a map; the series of a pixel beside it. No server code is needed:
// tiles and series are files, whether they are written beforehand or made when asked for.

import { about, hillshade, pixels, series, stations, tile } from "./data.js";
import { MISSING, PALETTES, colourBits, colourShade, colourValues, css } from "./colours.js";
import { drawChart, drawRain } from "./chart.js";
import { csvOf, pixelAt, rowsOf, worded } from "./point.js";

const $ = (id) => document.getElementById(id);
// Pixels a side of a tile, and how large it is at most on the screen: values are never coarser than the screen.
const SIDE = 256;
const SHOWN = 181;
const REFRESH_MS = 20000;
// Opacity of a layer over a hillshade that is to be seen, and the residual of a station that has the full colour.
const OVER_TERRAIN = 75;
const FAR_OFF = 0.1;
// Ways to say a volume share of water; `withMillimetres` adds those of the layer of soil.
const UNITS = {
  "m³ m⁻³": { name: "m³ m⁻³", factor: 1, digits: 3 },
  "vol. %": { name: "vol. %", factor: 100, digits: 1 },
};

/** Add millimetres of water in the layer of soil that the maps are of. */
function withMillimetres([top, bottom]) {
  const [from, to] = [top, bottom].map((metres) => Number((100 * metres).toFixed(4)));
  const name = `mm in ${from}–${to} cm`;
  UNITS[name] = { name, factor: Number((1000 * (bottom - top)).toFixed(4)), digits: 1 };
}

let site;
let map;
let beside = null;
let places = [];
let shown = null;
let serial = 0;
let playing = false;
let reading = null;
const ranges = {};
const state = { day: 0, layer: 0, unit: "m³ m⁻³", palette: {}, opacity: 100, compare: "", other: 0, otherLayer: null, terrain: true, at: null };
const AWAY = "drier, wetter";
const hash = new URLSearchParams(location.hash.slice(1));

const layerNow = () => site.layers[state.layer];
const isVolume = (layer) => layer.units === "m3 m-3";
const unitOf = (layer) => (isVolume(layer) ? UNITS[state.unit] : { name: layer.units === "1" ? "" : layer.units, factor: 1, digits: layer.units === "days" ? 0 : 2 });
const paletteOf = (layer) => state.palette[layer.name] ?? layer.palette;
const rangeKey = () => (state.compare === "difference" ? `${layerNow().name} difference` : layerNow().name);

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function rangeNow() {
  if (ranges[rangeKey()]) return ranges[rangeKey()];
  const [low, high] = layerNow().range ?? [0, 1];
  return state.compare === "difference" ? [-(high - low) / 3, (high - low) / 3] : [low, high];
}

const otherLayer = () => site.layers[state.otherLayer ?? state.layer];

// ---- pictures -------------------------------------------------------------------------------------------

// Everything that a picture depends on; two equal ones are the same picture.
function wanted(day, difference, layer = layerNow()) {
  const values = layer.kind === "values";
  const changed = difference && values;
  const like = layer === layerNow() || (isVolume(layer) && isVolume(layerNow()));
  return {
    day, layer: site.layers.indexOf(layer), version: site.days[day].version,
    base: changed ? state.other : null,
    palette: changed ? AWAY : paletteOf(like ? layerNow() : layer),
    range: values ? (like ? rangeNow() : ranges[layer.name] ?? layer.range ?? [0, 1]) : null,
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
  return pictureOf(words);
});
maplibregl.addProtocol("terrain", async (request, abort) => {
  const at = request.url.split("/").slice(2).map(Number);
  return pictureOf(colourShade(await hillshade(...at, abort.signal)));
});

async function pictureOf(words) {
  return { data: await createImageBitmap(new ImageData(new Uint8ClampedArray(words.buffer), SIDE, SIDE)) };
}

// Maps across 180 degrees have an east above 180, which a source of tiles does not know.
function within() {
  const [west, south, east, north] = site.bounds;
  return { bounds: east > 180 ? [-180, south, 180, north] : [west, south, east, north] };
}

// Put a picture on a map; the one before stays until the new one is complete. Tells whether it is on the map then,
// or another was wanted meanwhile.
function put(target, picture) {
  const id = `picture-${++serial}`;
  const below = target.getLayer("stations") ? "stations" : undefined;
  target.addSource(id, {
    type: "raster", tileSize: SHOWN, ...within(), minzoom: site.layers[picture.layer].minzoom, maxzoom: site.zoom[1],
    tiles: [`values://{z}/{x}/{y}/${encodeURIComponent(JSON.stringify(picture))}`],
  });
  target.addLayer({
    id, type: "raster", source: id,
    paint: { "raster-fade-duration": 0, "raster-resampling": "nearest", "raster-opacity": state.opacity / 100 },
  }, below);
  target.wantedPicture = id;
  return new Promise((settled) => target.once("idle", () => {
    if (target.wantedPicture !== id) return settled(false);
    for (const layer of target.getStyle().layers) {
      if (layer.id.startsWith("picture-") && layer.id !== id) {
        target.removeLayer(layer.id);
        target.removeSource(layer.id);
      }
    }
    settled(true);
  }));
}

async function show() {
  const picture = wanted(state.day, state.compare === "difference");
  const other = state.compare === "swipe" ? wanted(state.other, false, otherLayer()) : null;
  const key = JSON.stringify([picture, other]);
  remember();
  if (shown === key) return;
  shown = key;
  document.body.dataset.loading = "true";
  if (other && beside?.ready) put(beside, other);
  if (!(await put(map, picture))) return;
  describe(picture);
  delete document.body.dataset.loading;
}

// Say what is on the screen: only once it is there.
function describe(picture) {
  const layer = site.layers[picture.layer];
  $("shown-day").textContent = worded(site.days[picture.day].date);
  const minus = picture.base === null ? "" : ` minus ${worded(site.days[picture.base].date)}`;
  $("shown-layer").textContent = `${minus} ${layer.title}`.trim();
  document.body.dataset.shown = `${site.days[picture.day].date}/${layer.name}`;
  legend(picture);
  colourStations();
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
  $("other-layer").value = state.otherLayer ?? "";
  $("other-layer-label").hidden = state.compare !== "swipe";
  $("terrain").checked = state.terrain;
  $("opacity").value = state.opacity;
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
  // A screen reader is not told every day of an animation.
  $("shown").setAttribute("aria-live", on ? "off" : "polite");
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
  $("other-shown").textContent = `${worded(site.days[state.other].date)} ${otherLayer().title}`;
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
    const found = exact ?? pixelAt(site, lngLat);
    if (!found) return say("There is no map at this place.");
    const [row, col] = found;
    const rows = rowsOf(site, await series(site, row, col));
    reading = { row, col, lngLat, name, rows, station: places.find((place) => place.row === row && place.col === col) };
    say("");
    marker(lngLat);
    draw();
  } catch (error) {
    say(error.message, true);
  }
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

const measuredOn = (day) => reading.station?.measured[site.days[day].date] ?? null;

function draw() {
  $("reading").hidden = false;
  drawCharts();
  $("where").textContent = reading.station?.id ?? reading.name
    ?? `${reading.lngLat.lat.toFixed(4)}°, ${reading.lngLat.lng.toFixed(4)}° (row ${reading.row}, column ${reading.col})`;
  readDay();
  const counts = new Map();
  for (const row of reading.rows) for (const text of row.reasons) counts.set(text, (counts.get(text) ?? 0) + 1);
  $("counts").replaceChildren(...[...counts].map(([text, n]) => listed(`${n} of ${site.days.length} days: ${text}`)));
  tabulate();
}

function drawCharts() {
  const unit = UNITS[state.unit];
  const scaled = (key) => reading.rows.map((row) => (row[key] === null ? null : row[key] * unit.factor));
  const has = (key) => site.series.includes(key);
  const use = {
    days: site.days.map((day) => Date.parse(worded(day.date)) / 1000),
    chosen: () => state.day, onDay: (day) => change({ day }), onHover: hover,
  };
  const observed = reading.station && site.days.map((_, day) => (measuredOn(day) === null ? null : measuredOn(day) * unit.factor));
  drawChart($("chart"), {
    estimate: scaled("estimate"), lower: scaled("lower"), upper: scaled("upper"), smap: has("SMAP") && scaled("smap"), observed,
  }, unit, use);
  $("rain").hidden = $("rain-title").hidden = !has("pr");
  if (has("pr")) drawRain($("rain"), reading.rows.map((row) => row.rain), use);
  $("key").textContent = [
    `Line: estimate, ${unit.name}`, "band: interval", has("SMAP") && "dashes: SMAP", observed && "dots: measured",
  ].filter(Boolean).join("; ");
}

const shownValue = (value) => (value == null ? "–" : (value * UNITS[state.unit].factor).toFixed(UNITS[state.unit].digits));

// The day under the pointer in the chart.
function hover(day) {
  $("hover").textContent = "";
  if (day == null) return;
  const row = reading.rows[day];
  const more = [
    row.smap !== null && `SMAP ${shownValue(row.smap)}`,
    measuredOn(day) !== null && `measured ${shownValue(measuredOn(day))}`,
    row.rain !== null && `rain ${row.rain.toFixed(1)} mm`,
  ].filter(Boolean);
  $("hover").textContent = [`${worded(row.date)}: ${shownValue(row.estimate)} (${shownValue(row.lower)} to ${shownValue(row.upper)})`, ...more].join(", ");
}

function readDay() {
  const row = reading.rows[state.day];
  const strong = document.createElement("strong");
  strong.textContent = row.estimate === null ? "no value" : shownValue(row.estimate);
  const interval = row.lower === null || row.upper === null ? "" : `, interval ${shownValue(row.lower)} to ${shownValue(row.upper)}`;
  $("value").replaceChildren(`${worded(row.date)}: `, strong, row.estimate === null ? "" : ` ${UNITS[state.unit].name}${interval}`);
  $("reasons").replaceChildren(...row.reasons.map(listed));
  if (reading.drawn !== undefined && reading.drawn !== state.day) drawCharts();
  reading.drawn = state.day;
}

// The same numbers for those who cannot see the chart.
function tabulate() {
  const holder = $("table");
  holder.replaceChildren();
  if (!$("as-table").open) return;
  const wet = site.series.includes("pr");
  const line = (cells, kind) => {
    const row = document.createElement("tr");
    for (const text of cells) row.append(Object.assign(document.createElement(kind), { textContent: text }));
    return row;
  };
  holder.append(line(["day", "estimate", "lower", "upper", ...(wet ? ["rain, mm"] : []), "reasons"], "th"));
  for (const row of reading.rows) {
    const rain = wet ? [row.rain === null ? "–" : row.rain.toFixed(1)] : [];
    const cells = [row.estimate, row.lower, row.upper].map(shownValue);
    holder.append(line([worded(row.date), ...cells, ...rain, row.reasons.join("; ")], "td"));
  }
}

function listed(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csvOf(reading.rows)], { type: "text/csv" }));
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
    button.append(document.createElement("small"));
    button.addEventListener("click", () => visit(place));
    item.append(button);
    return item;
  }));
  map.addSource("stations", { type: "geojson", data: stationPoints() });
  const colour = ["interpolate", ["linear"], ["get", "residual"], -FAR_OFF, css(AWAY, 0), 0, css(AWAY, 0.5), FAR_OFF, css(AWAY, 1)];
  map.addLayer({
    id: "stations", type: "circle", source: "stations",
    paint: {
      "circle-radius": 7, "circle-stroke-color": "#222222", "circle-stroke-width": 2,
      "circle-color": ["case", ["has", "residual"], colour, "rgba(255, 255, 255, 0.3)"],
    },
  });
  map.on("mouseenter", "stations", () => (map.getCanvas().style.cursor = "pointer"));
  map.on("mouseleave", "stations", () => (map.getCanvas().style.cursor = "crosshair"));
}

// Map minus measured on a day; null where one of them is missing.
function residual(place, day) {
  const [estimated, measured] = [place.estimated[day.date], place.measured[day.date]];
  return estimated == null || measured == null ? null : estimated - measured;
}

function stationPoints() {
  const day = site.days[state.day];
  return {
    type: "FeatureCollection",
    features: places.map((place, index) => ({
      type: "Feature",
      properties: { index, ...(residual(place, day) !== null && { residual: residual(place, day) }) },
      geometry: { type: "Point", coordinates: [place.longitude, place.latitude] },
    })),
  };
}

// Stations have the colour of their residual on the day that is shown.
function colourStations() {
  map.getSource("stations")?.setData(stationPoints());
  const [unit, day] = [UNITS[state.unit], site.days[state.day]];
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value * unit.factor).toFixed(unit.digits)}`;
  $("station-list").querySelectorAll("small").forEach((text, index) => {
    const off = residual(places[index], day);
    text.textContent = off === null ? "; not measured on this day" : `; map minus measured ${signed(off)} ${unit.name}`;
  });
  $("off-low").textContent = `${signed(-FAR_OFF)} map too dry`;
  $("off-high").textContent = `${signed(FAR_OFF)} ${unit.name} too wet`;
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
    ...(state.otherLayer !== null && { otherlayer: otherLayer().name }),
    ...(state.palette[layerNow().name] && { colours: state.palette[layerNow().name] }),
    ...(state.opacity !== opacityAtFirst() && { opacity: state.opacity }),
    ...(!state.terrain && { terrain: "off" }),
    ...(state.unit !== "m³ m⁻³" && { unit: state.unit }),
    ...(ranges[rangeKey()] && { range: ranges[rangeKey()].map((v) => Number(v.toPrecision(5))).join(",") }),
  };
  history.replaceState(null, "", `#${Object.entries(parts).map(([k, v]) => `${k}=${encodeURIComponent(v).replaceAll("%2F", "/").replaceAll("%2C", ",")}`).join("&")}`);
}

const opacityAtFirst = () => (site.hillshade ? OVER_TERRAIN : 100);

function recall() {
  const day = site.days.findIndex((one) => one.date === hash.get("day"));
  const layer = site.layers.findIndex((one) => one.name === hash.get("layer"));
  const other = site.days.findIndex((one) => one.date === hash.get("other"));
  if (day >= 0) state.day = day;
  if (layer >= 0) state.layer = layer;
  if (other >= 0) state.other = other;
  if (["difference", "swipe"].includes(hash.get("compare"))) state.compare = hash.get("compare");
  const beyond = site.layers.findIndex((one) => one.name === hash.get("otherlayer"));
  if (beyond >= 0) state.otherLayer = beyond;
  if (PALETTES.includes(hash.get("colours"))) state.palette[layerNow().name] = hash.get("colours");
  if (UNITS[hash.get("unit")]) state.unit = hash.get("unit");
  state.terrain = hash.get("terrain") !== "off";
  const opacity = Number(hash.get("opacity") ?? NaN);
  state.opacity = opacity >= 0 && opacity <= 100 ? opacity : opacityAtFirst();
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
  if (site.hillshade) {
    sources.terrain = { type: "raster", tiles: ["terrain://{z}/{x}/{y}"], tileSize: SHOWN, ...within(), minzoom: site.zoom[0], maxzoom: site.zoom[1] };
    layers.push({ id: "terrain", type: "raster", source: "terrain", layout: { visibility: state.terrain ? "visible" : "none" }, paint: { "raster-fade-duration": 0 } });
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
    const [before, dates] = [site.days.length, [state.day, state.other].map((k) => site.days[k].date)];
    site = now;
    [state.day, state.other] = dates.map((date) => Math.max(0, site.days.findIndex((day) => day.date === date)));
    fill();
    if (site.days.length > before) say(`The maps now go to ${worded(site.days.at(-1).date)}.`);
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
  const drawn = site.layers.filter((layer) => layer.drawn).map((layer) => [site.layers.indexOf(layer), layer.title]);
  options($("layer"), drawn, state.layer);
  options($("other-layer"), [["", "same layer"], ...drawn], state.otherLayer ?? "");
  $("terrain").parentElement.hidden = !site.hillshade;
  options($("unit"), Object.keys(UNITS).map((name) => [name, name]), state.unit);
  options($("other"), site.days.map((day, k) => [k, worded(day.date)]), state.other);
}

async function start() {
  site = await about();
  withMillimetres(site.soilDepth);
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
    remember();
  });
  $("compare").addEventListener("change", (event) => change({ compare: event.target.value }));
  $("other").addEventListener("change", (event) => change({ other: Number(event.target.value) }));
  $("other-layer").addEventListener("change", (event) => change({ otherLayer: event.target.value === "" ? null : Number(event.target.value) }));
  $("terrain").addEventListener("change", (event) => {
    state.terrain = event.target.checked;
    for (const target of [map, beside]) target?.setLayoutProperty("terrain", "visibility", state.terrain ? "visible" : "none");
    remember();
  });
  $("as-table").addEventListener("toggle", tabulate);
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
